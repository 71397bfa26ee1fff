package config

import (
	"cmp"
	"context"
	"log/slog"

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
// puts it in force. What is refused leaves what was good. Config's lock is held;
// tell is to be called, and said to be said, without it.
func (c *Config) evaluate(k *key, file *driver.Item, of offer) (tell []func(), said []event) {
	say := func(revision int64, from tree.Layer, err error) {
		said = append(said, event{k.name, revision, from, err})
	}
	k.wasRefused, k.wasReason, k.refused, k.reason = k.refused, k.reason, 0, ""
	k.takeFile(file, say)
	if of.item == nil {
		k.centre = nil // it was removed
	} else if n, err := parse(*of.item); err != nil {
		if k.refuse(of.item.Revision, err) {
			say(of.item.Revision, tree.Centre, err)
		}
	} else if _, err := k.value.try(k.with(k.file, n)); err != nil {
		if k.refuse(of.item.Revision, err) {
			say(of.item.Revision, tree.Centre, err)
		}
	} else {
		k.centre = &good{text: string(tree.Text(n)), revision: of.item.Revision, node: n, disk: c.disk}
		k.checked = max(k.checked, of.item.Revision)
	}
	now := k.centre
	if p := k.takePush(of.push, c.Instance, say); p != nil {
		now = p
	}
	return k.enforce(now, of.push != nil && now != k.centre, say), said
}

// takeFile takes in what the file layer has.
func (k *key) takeFile(file *driver.Item, say func(int64, tree.Layer, error)) {
	if file == nil {
		k.file, k.fileBad = nil, ""
		return
	}
	n, err := parse(*file)
	if err == nil {
		_, err = k.value.try(k.with(n, nil))
	}
	if err != nil {
		if text := err.Error(); k.fileBad != text {
			k.fileBad = text
			say(file.Revision, tree.File, err)
		}
		return
	}
	k.file, k.fileBad = n, ""
}

// takePush checks a push and returns its value if this instance is to run it.
func (k *key) takePush(push *driver.Item, instance string, say func(int64, tree.Layer, error)) *good {
	if push == nil {
		return nil
	}
	p, err := DecodePush(push.Value)
	var n *tree.Node
	if err == nil {
		n, err = tree.JSON([]byte(p.Value))
	}
	if err == nil {
		_, err = k.value.try(k.with(k.file, n))
	}
	if err != nil {
		if k.refuse(push.Revision, err) {
			say(push.Revision, tree.Centre, err)
		}
		return nil
	}
	k.checked = max(k.checked, push.Revision)
	if !p.Chosen(instance) {
		return nil
	}
	return &good{text: p.Value, revision: push.Revision, node: n}
}

// enforce puts the centre's value, or its absence, in force over file and
// environment. It cannot fail unless the file broke what was good with it: then
// all stays as it is.
func (k *key) enforce(now *good, pushed bool, say func(int64, tree.Layer, error)) []func() {
	var node *tree.Node
	var revision int64
	if now != nil {
		node, revision = now.node, now.revision
	}
	layers := k.with(k.file, node)
	apply, err := k.value.try(layers)
	if err != nil {
		if k.refuse(revision, err) {
			say(revision, tree.Centre, err)
		}
		return nil
	}
	k.layers = nil
	for _, l := range layers {
		k.layers = append(k.layers, l.from)
	}
	news := k.revision != revision
	k.revision, k.pushed, k.lastGood = revision, pushed, now != nil && now.disk
	tell := apply()
	if news || len(tell) > 0 {
		from := tree.Default
		if len(layers) > 0 {
			from = layers[len(layers)-1].from
		}
		say(revision, from, nil)
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
