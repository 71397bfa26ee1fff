package order

import "github.com/surefoot-go/surefoot/errs"

// State is how far the saga of an order has come. It is written down before the
// step it names is taken, so that whoever finds it after a crash knows what may
// have happened already.
type State string

// The states. From the last four an order never moves again.
const (
	New       State = "new"       // stock may be reserved; nothing is charged
	Charging  State = "charging"  // stock is reserved; the charge may have been made
	Pending   State = "pending"   // payment settles the charge later
	Charged   State = "charged"   // the money is taken; the sale may be confirmed
	Declining State = "declining" // the bank said no; the stock goes back
	Canceling State = "canceling" // given up before any charge; the stock goes back

	Paid     State = "paid"
	Declined State = "declined"
	Canceled State = "canceled"
	Rejected State = "rejected" // there was no stock to reserve
)

// Settled says whether the saga is over.
func (s State) Settled() bool {
	return s == Paid || s == Declined || s == Canceled || s == Rejected
}

// Outcome is what a step came to.
type Outcome uint8

// The outcomes of a step.
const (
	Unknown   Outcome = iota // no answer that decides: it may or may not have happened
	Succeeded                // reserved, charged, confirmed or released
	Refused                  // a definite no: nothing happened and no repeat will help
	Deferred                 // accepted, to be decided later
	Abandoned                // found after a crash, before the step's answer was known
)

// Next is the whole saga: the state after a step taken in state s came to o. A
// pair it does not list stays where it is and is tried again.
//
// Before the charge the saga goes back, because nobody waits for the order any
// more; once a charge may have been made it goes forward, because only the
// bank's word decides.
func Next(s State, o Outcome) State {
	switch s {
	case New:
		switch o {
		case Succeeded:
			return Charging
		case Refused:
			return Rejected
		case Unknown, Abandoned:
			return Canceling
		}
	case Charging, Pending:
		switch o {
		case Succeeded:
			return Charged
		case Refused:
			return Declining
		case Unknown, Deferred:
			return Pending
		}
	case Charged:
		if o == Succeeded {
			return Paid
		}
	case Declining:
		if o == Succeeded {
			return Declined
		}
	case Canceling:
		if o == Succeeded {
			return Canceled
		}
	}
	return s
}

// outcome reads what an error of a step decides. A callee's failure, a cancel
// and a shed request decide nothing.
func outcome(err error) Outcome {
	if err == nil {
		return Succeeded
	}
	switch errs.KindOf(err) {
	case errs.Invalid, errs.NotFound, errs.Conflict, errs.FailedPrecondition:
		return Refused
	}
	return Unknown
}
