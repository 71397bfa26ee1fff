package main

const overloadWords = `## Overload at a server

A server with 20 workers of 20 ms, 1000 requests a second, which the door in front does not know. Requests come as a Poisson process
whatever happens; each caller waits 250 ms. What is admitted is worked off in the order it came, also when its caller is gone. Goodput is
what was answered in time, as a share of the capacity; p99 is that of the admitted, from arrival to the end. Judged from the
fourth second on; three seconds are for the start, and after the service has become 3x slower.

`

const realWords = `The limiters of go-zero and kratos act only when the CPU is busy (90 % and 80 %). This workload sleeps, as services do that wait for a
database or another service: its CPU stays idle while requests pile up, so on a machine of its own the gate stays shut and they do as well as none. They read
the real CPU, of the whole machine, and therefore ran in real time, at 2x, for 5 s of which the last 3 count; "gate removed" sets their threshold to 0 and shows
the algorithm behind it. These rows do depend on the machine, which was shared: 20 ms of sleep last longer, so nobody can reach 1, and where go-zero or
kratos do better than none it was the work of others that opened the gate. Compare the rows with each other only.

`

const stormWords = `## A storm at a target

10 clients make 600 calls a second, Poisson, to a target that can do 1000 (20 places of 20 ms). From the 11th to the 15th second it stalls (takes calls and
begins none) or errs (answers 503 at once). Each caller waits 10 s; every try has 2 s. At a plain target, calls whose callers are gone leave the queue; behind
` + "`resilience/shed`" + ` some are refused at the door; a stubborn one works off what nobody waits for any more, the worst of servers and a common one, so
that a stall leaves it with 1.2 s of dead work, the calls of the first 2 s, which no client can take back: there is no goal for it. The time to recover is that from the end of the storm to the first
moment since which 95 of 100 calls that come in any second succeed, in steps of 250 ms; "never" is not within the 90 s watched (30 s for our Default).
Attempts per call are those that reach the target, over the story until 30 s after the storm, and in the worst second as a share of
600; less than 1 means that a breaker kept calls away, which costs the calls and spares the target. A breaker that opens after recovery, or at all after
the end where there was none, opened again. To try once and hope recovers best here, because a target without retries is at 60 % again at once; what it
lacks shows in every other failure.
`

const sparkWords = `How many of the calls that come in each 250 ms succeed (mean of the seeds, █ is 95 % and more): the second before, the 5 s of the storm, and 6 s after.
`

const layersWords = `## Three layers: A -> B -> C with C down

Attempts at C per call at A, the worst seed; 100 calls a second at A for 30 s. Ours are real hops: an httpx server at A, gRPC with grpcx from A to B, HTTP
with httpx from B to C, all calls idempotent so that every layer could retry. The peers' hops are function calls with their policies at A and at B.
Where C fails only 4 of 10 calls no breaker opens, and what is left is what the budgets of two layers and their reserves allow, 1.11 times 1.11: that case
has no goal, and the row without breakers shows that the goal needs them.

`

const hedgeWords = `## Hedging a slow tail

200 calls a second for 60 s to a target whose work takes 5 to 15 ms, but for one call in 50 20 times that. Ours hedges after the 95th percentile, on a retry
budget, after the quantile of the last 1024 to 2047 calls. Attempts per call are of the worst seed. When everything becomes slow, the budget bounds what hedging
adds, and calls that find it spent have the whole tail (p99.9).
`

const setUp = `
## How each was set up

- **surefoot**: ` + "`shed.Door`" + `, ` + "`resilience.Default`" + ` and ` + "`resilience.Classic`" + ` as they are, calls idempotent; the door's first limit is 1000, not the right one.
- failsafe-go, adaptive limiter: its defaults (at first 20, the right number here; at most 200), and the same with the queueing of its documentation (2, 3).
- Gradient2 is that of Netflix concurrency-limits with its defaults (at first and at least 20; at most 200; smoothing 0.2, tolerance 1.5, long window 600, a window
  each second), written for this comparison from its published description, because there is no port for Go to import: a reference, not their code. Where the
  first limit is wrong it may also go down to 1.
- go-zero: ` + "`load.NewAdaptiveShedder`" + ` and ` + "`breaker.NewBreaker`" + `; kratos: aegis ` + "`bbr`" + ` and ` + "`sre`" + `, as its middleware uses them. Their clients do not retry.
- failsafe-go, retry and breaker as in its documentation: 3 retries 1 s apart, a breaker of 5 failures, 1 minute, 2 successes; "at its defaults": 2 retries
  at once, no breaker; "with our numbers": backoff from 100 ms with jitter, its retry budget, a breaker of half of 10 in 10 s that tries again after 1 s.
- retryablehttp with its defaults (4 retries, 1 to 30 s) over gobreaker with its own (more than 5 failures in a row, 60 s) in its transport.
- The plain loop tries 3 more times, 100 ms apart; none tries once. A library without a limit for one try has ours of 2 s.

## What it does not show

A simulated target has no garbage collector, no kernel and no network: the order of libraries carries over, the digits may not. Service times here are
constant or exponential, and real ones have longer tails. One target has one instance: what balancing over several does is not in here.
`
