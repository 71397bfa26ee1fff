package config

import (
	"cmp"
	"context"
	"log/slog"
	"strings"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/config/tree"
)

// offer is what the centre has for a key at a moment.
type offer struct {
	item *driver.Item // the value, nil for none
	push *driver.Item // a push of it, nil for none
}

// event is something about a key to be said.
type event struct {
	key      string
	revision int64
	layer    tree.Layer
	err      error // nil means applied
}

// evaluate decides what k is, from the file, the environment and the centre, and
// puts it in force. What is refused leaves what was good: of file and centre the
// one that does not fit is refused, and if nothing fits all stays as it is.
// Config's lock is held; tell is to be called, and said to be said, without it.
func (c *Config) evaluate(k *key, file *driver.Item, of offer) (tell []func(), said []event) {
	e := evaluation{k: k}
	f, ferr := k.read(file, tree.File)
	n, nerr := k.read(of.item, tree.Centre)
	var next *good
	if n != nil {
		next = &good{text: string(tree.Text(n)), revision: of.item.Revision, node: n, disk: c.disk}
	}
	var got choice
	var apply func() ([]func(), bool)
	var err, first error
	for _, got = range k.choices(f, ferr, next, nerr) {
		var g *tree.Node
		if got.centre != nil {
			g = got.centre.node
		}
		if apply, err = k.value.try(k.with(got.file, g)); err == nil {
			break
		}
		first = cmp.Or(first, err)
	}
	fits := err == nil && apply != nil
	if !fits {
		got = choice{k.file, k.centre}
		k.wrong = first
		if _, base := k.value.try(k.with(f, nil)); ferr == nil && base != nil {
			k.wrong = base
		}
	}
	// Both refused only if each is wrong by itself, or neither helps.
	before := k.fileBad
	e.note(&k.fileBad, file, tree.File, ferr, first, got.file != f && (fits || of.item == nil))
	e.note(&k.itemBad, of.item, tree.Centre, nerr, first, got.centre != next)
	if of.item == nil && got.centre != nil && fits { // without it nothing is valid
		e.set(&k.itemBad, &refusal{c.seen, first.Error()}, tree.Centre, first)
	}
	if !fits {
		if k.settled && k.fileBad == nil && k.itemBad == nil {
			k.fileBad = before
			e.set(&k.fileBad, &refusal{0, first.Error()}, tree.Environment, first)
		}
		return nil, e.said
	}
	k.file, k.centre, k.settled, k.wrong, k.checked = got.file, got.centre, true, nil, 0
	if next != nil && got.centre == next {
		k.checked = next.revision
	}
	now, p, fromPush := got.centre, of.push, false
	if p == nil {
		k.pushBad = nil
	} else if g, chosen, ok, err := k.tryPush(*p, c.Instance); err != nil {
		e.set(&k.pushBad, &refusal{p.Revision, err.Error()}, tree.Centre, err)
	} else {
		k.pushBad, k.checked = nil, max(k.checked, p.Revision)
		if chosen {
			now, apply, fromPush = g, ok, true
		}
	}
	return e.enforce(now, fromPush, apply), e.said
}

// evaluation collects what is to be said about a key.
type evaluation struct {
	k    *key
	said []event
}

// choice is a file and a value of the centre, nil for none.
type choice struct {
	file   *tree.Node
	centre *good
}

// choices is what may be in force, the best first.
func (k *key) choices(f *tree.Node, ferr error, next *good, nerr error) (all []choice) {
	var files []*tree.Node
	if ferr == nil {
		files = append(files, f)
	}
	if k.settled {
		files = append(files, k.file)
	}
	var centres []*good
	if nerr == nil {
		centres = append(centres, next)
	}
	if k.centre != nil {
		centres = append(centres, k.centre)
	}
	if !k.settled || len(centres) == 0 {
		centres = append(centres, nil)
	}
	for _, g := range centres {
		for _, f := range files {
			all = append(all, choice{f, g})
		}
	}
	return all
}

// read is an item's node, nil for no item.
func (k *key) read(it *driver.Item, from tree.Layer) (*tree.Node, error) {
	if it == nil {
		return nil, nil
	}
	n, err := parse(*it)
	if err == nil {
		err = k.value.check(layer{n, from})
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

// note keeps why an item is not used: for what is wrong with it alone, or
// because it does not fit.
func (e *evaluation) note(at **refusal, it *driver.Item, from tree.Layer, alone, together error, unused bool) {
	err := alone
	if err == nil && unused {
		err = together
	}
	if it == nil || err == nil {
		*at = nil
		return
	}
	e.set(at, &refusal{it.Revision, err.Error()}, from, err)
}

// set keeps a refusal, and says it if it is another than before.
func (e *evaluation) set(at **refusal, r *refusal, from tree.Layer, err error) {
	r.reason = strings.ReplaceAll(r.reason, "\n", "; ")
	if *at == nil || **at != *r {
		e.said = append(e.said, event{e.k.name, r.revision, from, err})
	}
	*at = r
}

// tryPush checks a push, and tells whether this instance is to run it.
func (k *key) tryPush(it driver.Item, instance string) (g *good, chosen bool, apply func() ([]func(), bool), err error) {
	if it.Err != nil {
		return nil, false, nil, it.Err
	}
	p, err := DecodePush(it.Value)
	if err != nil {
		return nil, false, nil, err
	}
	n, err := tree.JSON([]byte(p.Value))
	if err != nil {
		return nil, false, nil, err
	}
	apply, err = k.value.try(k.with(k.file, n))
	return &good{text: p.Value, revision: it.Revision, node: n}, p.Chosen(instance), apply, err
}

// enforce puts what was decided in force.
func (e *evaluation) enforce(now *good, pushed bool, apply func() ([]func(), bool)) []func() {
	k := e.k
	var node *tree.Node
	var revision int64
	if now != nil {
		node, revision = now.node, now.revision
	}
	from := tree.Default
	k.layers = nil
	for _, l := range k.with(k.file, node) {
		k.layers = append(k.layers, l.from)
		from = l.from
	}
	news := k.revision != revision
	k.revision, k.pushed, k.lastGood = revision, pushed, now != nil && now.disk
	tell, changed := apply()
	if news || changed {
		e.said = append(e.said, event{k.name, revision, from, nil})
	}
	return tell
}

// speak logs what happened. No value is in it.
func (c *Config) speak(ctx context.Context, said []event) {
	for _, e := range said {
		level, text := slog.LevelInfo, "config applied"
		attrs := []slog.Attr{slog.String("surefoot.config.key", e.key), slog.Int64("surefoot.config.revision", e.revision), slog.String("surefoot.config.layer", e.layer.String())}
		if e.err != nil {
			level, text = slog.LevelError, "config refused"
			attrs = append(attrs, slog.String("err", cmp.Or(e.err.Error(), "refused")))
		}
		c.sinks.Log.LogAttrs(ctx, level, text, attrs...)
	}
}
