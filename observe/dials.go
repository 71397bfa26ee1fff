package observe

import (
	"log/slog"
	"sync/atomic"
)

// Dials turn what a process reports up and down while it runs. The zero value,
// and nil, leave everything as it was configured. Safe for concurrent use; must
// not be copied. Whoever builds sinks for a Resource asks its Dials for each
// record and each trace that begins: that is one atomic load.
type Dials struct {
	level atomic.Pointer[slog.Level]
	ratio atomic.Pointer[float64]
}

// SetLevel sets the least severe log record that is kept, from now on; nil means
// as configured. A nil Dials ignores it.
func (d *Dials) SetLevel(l slog.Leveler) {
	if d == nil {
		return
	}
	if l == nil {
		d.level.Store(nil)
		return
	}
	at := l.Level()
	d.level.Store(&at)
}

// SetRatio sets the share of traces begun here that are recorded, from 0 to 1,
// from now on; 0 means as configured, negative means none. A nil Dials ignores it.
func (d *Dials) SetRatio(share float64) {
	if d == nil {
		return
	}
	if share == 0 {
		d.ratio.Store(nil)
		return
	}
	share = min(max(share, 0), 1)
	d.ratio.Store(&share)
}

// Level is the level in force where configured is what the settings said; nil
// means slog.LevelInfo.
func (d *Dials) Level(configured slog.Leveler) slog.Level {
	if d != nil {
		if l := d.level.Load(); l != nil {
			return *l
		}
	}
	if configured == nil {
		return slog.LevelInfo
	}
	return configured.Level()
}

// Ratio is the share in force, from 0 to 1, where configured is what the settings
// said.
func (d *Dials) Ratio(configured float64) float64 {
	if d != nil {
		if r := d.ratio.Load(); r != nil {
			return *r
		}
	}
	return min(max(configured, 0), 1)
}
