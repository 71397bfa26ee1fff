package shed

// shares says who had more than others lately. Users are counted in two rows of
// buckets and judged by the row in which they look better, so that a quiet user
// is taken for a loud one only if two loud ones hit its buckets. Memory does
// not depend on how many users there are.
type shares struct {
	ends  int64 // of the current half-window
	fair  float64
	total float64 // admitted
	rows  [2][buckets]share
}

type share struct{ came, had float32 }

const (
	buckets    = 512
	halfWindow = 500e6 // ns; after each all counts are halved
)

func places(user uint64) (int, int) { return int(user >> 1 % buckets), int(user >> 32 % buckets) }

func (s *shares) arrived(user uint64) {
	if user != 0 {
		i, j := places(user)
		s.rows[0][i].came++
		s.rows[1][j].came++
	}
}

func (s *shares) admitted(user uint64) {
	if user != 0 {
		i, j := places(user)
		s.rows[0][i].had++
		s.rows[1][j].had++
		s.total++
	}
}

// over says that a user has had its fair share of this window.
func (s *shares) over(user uint64) bool {
	if user == 0 {
		return false
	}
	i, j := places(user)
	return s.fair > 0 && float64(min(s.rows[0][i].had, s.rows[1][j].had)) >= s.fair
}

// turn ends a half-window: what one user may have in the next is the level up to
// which all demands could be met with what was admitted.
func (s *shares) turn(now int64) {
	if now < s.ends {
		return
	}
	s.fair = s.level()
	halvings := min((now-s.ends)/halfWindow+1, 8)
	factor := 1 / float32(int(1)<<halvings)
	s.ends = now + halfWindow
	s.total *= float64(factor)
	for r := range s.rows {
		for i := range s.rows[r] {
			s.rows[r][i].came *= factor
			s.rows[r][i].had *= factor
		}
	}
}

// level is the water level f at which the sum of min(came, f) is what was
// admitted; 0 if all demands were met.
func (s *shares) level() float64 {
	var came, most float64
	for _, c := range s.rows[0] {
		came += float64(c.came)
		most = max(most, float64(c.came))
	}
	if came <= s.total {
		return 0
	}
	lo, hi := 0.0, most
	for range 24 {
		mid := (lo + hi) / 2
		sum := 0.0
		for _, c := range s.rows[0] {
			sum += min(float64(c.came), mid)
		}
		if sum > s.total {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}
