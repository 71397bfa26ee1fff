package payment

import (
	"context"

	"github.com/surefoot-go/surefoot/flow"
)

// price says what an order costs this user, in minor units.
type price func(ctx context.Context, list int64) int64

// pricing returns the price of a version: v2 brought the loyalty discount, and
// every version after it keeps it; v3 has it right.
func pricing(version string) price {
	switch version {
	case "v1", "":
		return listPrice
	case "v2":
		// As the loyalty team names its programme. The user service says "premium".
		return newLoyalty("Premium").price
	}
	return newLoyalty("premium").price
}

// listPrice is v1: everybody pays what the list says.
func listPrice(_ context.Context, list int64) int64 { return list }

// loyalty is what v2 brought: members of a programme pay less.
type loyalty struct {
	programmes map[string]*programme
}

// programme is one loyalty programme.
type programme struct {
	Percent int64 // taken off the list price
}

func newLoyalty(name string) loyalty {
	return loyalty{programmes: map[string]*programme{name: {Percent: 5}}}
}

// price takes the programme's share off. This is the bug that the story
// bad-release releases: v2 does not find the name, programme is nil, and every
// charge of a premium user panics. It must stay: the point is that the release
// is survived and taken back, not that it was reviewed better.
func (l loyalty) price(ctx context.Context, list int64) int64 {
	tier := flow.Label(ctx, "tier")
	if tier == "" || tier == "standard" {
		return list
	}
	return list - list*l.programmes[tier].Percent/100
}
