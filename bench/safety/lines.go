package main

// libraries in the order of the table's columns; the first is ours.
var libraries = []string{"surefoot", "kratos", "go-zero", "failsafe-go", "connect"}

// line is one clause of section 6 of docs/design.md: a trap, and an experiment
// for each library.
type line struct {
	id   string
	trap string
	ask  [5]experiment // in the order of libraries
}

// Why a library has nothing in a place.
const (
	noRetry    = "its clients do not retry"
	noHedge    = "it has no hedging"
	noWire     = "it adds no header of its own; its users bring net/http or grpc-go"
	noGRPC     = "package rest speaks HTTP only; see the build tag zrpc"
	noRegistry = "it has no registry and no discovery"
	noConfig   = "it has no settings that are pushed"
	noPool     = "it offers nothing to run a goroutine with"
)

// opting names the option that makes a library safe, where it was not.
func opting(option string, e experiment) experiment {
	return func(l *lab) answer { return e(l).opt(option) }
}

// gozero adds what the build tag zrpc brings to go-zero's cell of a line.
func gozero(id string, e experiment) experiment {
	if more := zrpcCells[id]; more != nil {
		return all(e, more)
	}
	return e
}

var lines = []line{
	{"permit-leak", "a permit leaks when the handler panics", [5]experiment{
		ourPermits, opting("recovery inside the rate limit", kratosPermits), gozeroPermits,
		opting("a recover inside the bulkhead", failsafePermits), gobreakerPermits,
	}},
	{"cancel-trips", "a caller's cancel trips the breaker", [5]experiment{
		all(cancelHTTP(ourClient), cancelGRPC(ourDial)),
		all(cancelHTTP(kratosClient), cancelGRPC(kratosDial)),
		gozero("cancel-trips", cancelHTTP(gozeroClient)),
		opting("HandleIf on the breaker", all(cancelHTTP(failsafeClient), cancelGRPC(failsafeDial))),
		opting("gobreaker's IsExcluded", connectCanceled),
	}},
	{"4xx-trips", "a 4xx trips the breaker", [5]experiment{
		all(faultHTTP(ourClient), faultGRPC(ourDial)),
		all(faultHTTP(kratosClient), faultGRPC(kratosDial)),
		gozero("4xx-trips", faultHTTP(gozeroClient)),
		opting("HandleIf on the breaker", all(faultHTTP(failsafeClient), faultGRPC(failsafeDial))),
		opting("gobreaker's IsSuccessful", connectNotFound),
	}},
	{"rejections-count", "local rejections count as failures", [5]experiment{
		ourRejections, all(kratosFull, kratosRejections), gozeroRejections,
		opting("HandleIf on the breaker", failsafeRejections), gobreakerRejections,
	}},
	{"error-text", "raw error text or a DSN reaches the client", [5]experiment{
		all(leaksError(ourHTTP), leaksError(ourGRPC)),
		opting("kratos errors from every handler, or a middleware that makes them", all(leaksError(kratosHTTP), leaksError(kratosGRPC))),
		opting("httpx.SetErrorHandler", gozero("error-text", leaksError(gozeroHTTP))),
		absent("it leaves the answers of handlers to net/http and grpc-go"),
		opting("connect errors from every handler, or an interceptor that makes them", leaksError(connectHTTP)),
	}},
	{"panic-value", "a panic's value or stack reaches the client", [5]experiment{
		all(leaksPanic(ourHTTP), leaksPanic(ourGRPC)),
		all(leaksPanic(kratosHTTP), leaksPanic(kratosGRPC)),
		gozero("panic-value", leaksPanic(gozeroHTTP)),
		leaksPanic(failsafeHTTP),
		leaksPanic(connectHTTP),
	}},
	{"502-becomes-500", "502 turns into 500 across gRPC", [5]experiment{
		ourBadGateway,
		kratosBadGateway,
		absent(noGRPC),
		absent("it passes on the status of grpc-go, which knows no 502"),
		connectBadGateway,
	}},
	{"deadline-forwarded", "the deadline is not forwarded", [5]experiment{
		all(forwards(ourHTTP), forwards(ourGRPC)),
		all(forwards(kratosHTTP), forwards(kratosGRPC)),
		gozero("deadline-forwarded", forwards(gozeroHTTP)),
		absent(noWire),
		forwards(connectHTTP),
	}},
	{"expired-work", "expired work is done", [5]experiment{
		all(worksLate(ourHTTP), worksLate(ourGRPC)),
		worksLate(kratosGRPC),
		gozero("expired-work", absent("HTTP: no header tells it the caller's deadline")),
		absent(noWire),
		worksLate(connectHTTP),
	}},
	{"post-retried", "a POST without idempotency key is retried", [5]experiment{
		all(postRetried(ourClient), callRetried(ourDial)), absent(noRetry), absent(noRetry),
		opting("AbortIf on the retry policy", all(postRetried(failsafeRetries), callRetried(failsafeRetriesGRPC))),
		opting("go-retryablehttp's CheckRetry", postRetried(connectRetries)),
	}},
	{"retry-jitter", "retries without jitter", [5]experiment{
		jitter(ourClient), absent(noRetry), absent(noRetry),
		opting("WithBackoff and WithJitterFactor", jitter(failsafeRetries)),
		opting("go-retryablehttp's LinearJitterBackoff", jitter(connectRetries)),
	}},
	{"retry-budget", "retries without budget", [5]experiment{
		budget(ourClient), absent(noRetry), absent(noRetry),
		opting("WithBudget", budget(failsafeRetries)),
		budget(connectRetries),
	}},
	{"retry-ctx", "retries without ctx", [5]experiment{
		outlives(ourClient), absent(noRetry), absent(noRetry), outlives(failsafeRetries), outlives(connectRetries),
	}},
	{"hedge-losers", "losers of a hedge are not cancelled", [5]experiment{
		losers(ourHedge), absent(noHedge), absent(noHedge), losers(failsafeClientWith(failsafeHedge())), absent(noHedge),
	}},
	{"hedge-first", "the first completion wins instead of the first success", [5]experiment{
		firstSuccess(ourHedge), absent(noHedge), absent(noHedge),
		opting("CancelIf on the hedge policy", firstSuccess(failsafeClientWith(failsafeHedge()))),
		absent(noHedge),
	}},
	{"registration-dies", "registration dies for good after a registry outage", [5]experiment{
		ourRegistration,
		absent("its core asks the driver once; the drivers are modules of their own"),
		gozeroRegisters, absent(noRegistry), absent(noRegistry),
	}},
	{"empty-endpoints", "an empty endpoint set replaces a good one", [5]experiment{
		ourEmptySet, kratosEmptySet, absent("discovery feeds its zrpc clients only"), absent(noRegistry), absent(noRegistry),
	}},
	{"watch-spins", "a closed watch channel spins", [5]experiment{
		ourWatch, kratosWatch, gozeroWatch, absent(noRegistry), absent(noRegistry),
	}},
	{"bad-push", "a bad config push replaces the good value", [5]experiment{
		ourPush, kratosPush, gozeroPush, absent(noConfig), absent(noConfig),
	}},
	{"secrets-logged", "secrets are logged", [5]experiment{
		ourLog, opting("Redacter on the message", kratosLog), opting("Middlewares.Log off", gozeroLog),
		absent("it logs nothing"), opting("another Logger", connectLog),
	}},
	{"init-starts", "signal handlers or samplers start in init", [5]experiment{
		starts("github.com/surefoot-go/surefoot/"),
		starts("github.com/go-kratos/"),
		starts("github.com/zeromicro/go-zero/"),
		starts("github.com/failsafe-go/"),
		starts("connectrpc.com/", "github.com/sony/", "github.com/hashicorp/"),
	}},
	{"goroutine-panic", "a panic in a goroutine ends the process", [5]experiment{
		survives("surefoot", "safe.Go and a Worker of service.Service"),
		absent(noPool),
		survives("go-zero", "threading.GoSafe"),
		survives("failsafe-go", "RunAsync"),
		absent(noPool),
	}},
	{"metastable", "retries keep a target down after a stall", [5]experiment{
		metastable(ourStorm), absent(noRetry), absent(noRetry),
		opting("WithBudget", metastable(failsafeStorm)),
		metastable(connectStorm),
	}},
}
