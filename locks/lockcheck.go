//go:build lockcheck

package locks

// Built with the tag lockcheck, everything is checked from the start and reported to
// slog.Default, until Check says otherwise.
var _ = check(Checks{Order: true, Owner: true}, true)
