package config_test

import (
	"reflect"
	"testing"

	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/resilience"
)

// TestPolicyIsASetting: a policy can be written, read back, and checked by its
// schema.
func TestPolicyIsASetting(t *testing.T) {
	for _, p := range []resilience.Policy{resilience.Default(), resilience.Classic()} {
		b, err := tree.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		n, err := tree.JSON(b)
		if err != nil {
			t.Fatal(err)
		}
		var again resilience.Policy
		if err := tree.Decode(n, &again, tree.Centre); err != nil || !reflect.DeepEqual(p, again) {
			t.Errorf("%s: %v, %+v", b, err, again)
		}
		s, err := tree.SchemaOf(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(n, tree.Centre); err != nil {
			t.Errorf("its schema refuses it: %v", err)
		}
	}
}
