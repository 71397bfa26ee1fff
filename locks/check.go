package locks

import "time"

// Checks says what checked locks look for. Order alone costs little less than
// all of it: see Check for the price.
type Checks struct {
	Order bool          // report orders of locking that can deadlock, and locking again what is held
	Hold  time.Duration // longest hold not worth a report; 0 means 1s, negative means any
	Wait  time.Duration // longest wait not worth a report; 0 means 1s, negative means any
	Owner bool          // report a lock unlocked by a goroutine that did not lock it; package sync allows that

	// Report is told of each problem when it is found, once for each pair of
	// places; nil writes it to slog.Default as an error. It is called by the goroutine that is about
	// to lock or has just unlocked, or by a timer, several at a time, while locks are held:
	// it should return soon. Locks that it takes itself are not checked.
	Report func(Problem)
}

// IsZero reports whether nothing is asked for.
func (c Checks) IsZero() bool {
	return !c.Order && !c.Owner && c.Hold == 0 && c.Wait == 0 && c.Report == nil
}

// Kinds of problems.
const (
	KindOrder         = "order"          // locks taken in orders that can deadlock together
	KindNested        = "nested"         // two locks of one Name held together without Rank, or against it
	KindRecursive     = "recursive"      // a goroutine waits for a lock that it holds
	KindRecursiveRead = "recursive read" // a goroutine locks for reading twice, and a writer may come between
	KindHold          = "hold"           // held longer than Checks.Hold
	KindWait          = "wait"           // waited for longer than Checks.Wait
	KindOwner         = "owner"          // unlocked by another goroutine
)

// Problem is what a checked lock found.
type Problem struct {
	Kind   string        // one of the Kind constants
	Name   string        // the lock that was being taken, held or unlocked
	Other  string        // the other lock of an order; "" when there is none
	For    time.Duration // how long, for KindHold and KindWait: the longest so far
	Count  uint64        // how often it was seen so far at these places
	Stacks []Stack       // the goroutines that take part, the one that was found last first
	Text   string        // all of it but the stacks, in a sentence
}

// Stack says what a goroutine did, and where.
type Stack struct {
	Text  string // "goroutine 7 locked cart", for example
	Trace string // function and file:line by turns, innermost first
}

// Check turns checking on for all locks of the process and returns what turns it
// off. A later Check takes over until it is stopped.
func Check(c Checks) (stop func()) { return func() {} }

// Problems returns what was found since checks were turned on.
func Problems() []Problem { return nil }

// Contention is how long goroutines have waited for the locks of a name.
type Contention struct {
	Name    string        // Name of the locks, or the place where an unnamed one was first waited for
	Waits   uint64        // how often
	Wait    time.Duration // how long in all
	Longest time.Duration // the longest wait
}

// Contended returns the names that were waited for since the process began, the
// longest total first.
func Contended() []Contention { return nil }
