package topology

import "github.com/surefoot-go/surefoot/server/store"

// key names one span.
type key struct {
	trace store.TraceID
	span  store.SpanID
}

// waiting is a map that forgets its oldest entries: those put before a given
// second, and the oldest one when it is full.
type waiting[V any] struct {
	m     map[key]V
	queue []queued // a ring
	head  int
	size  int
	limit int
}

type queued struct {
	key key
	sec int64
}

func (w *waiting[V]) put(k key, v V, sec int64, evicted func(V)) {
	if w.m == nil {
		w.m = map[key]V{}
	}
	if _, dup := w.m[k]; dup {
		w.m[k] = v // a batch sent twice; its place in the queue stands
		return
	}
	if w.size == w.limit && len(w.m) <= w.limit/2 {
		w.compact()
	}
	if w.size == w.limit {
		w.pop(evicted)
	}
	if w.size == len(w.queue) {
		w.grow()
	}
	w.queue[(w.head+w.size)%len(w.queue)] = queued{k, sec}
	w.size++
	w.m[k] = v
}

func (w *waiting[V]) grow() {
	bigger := make([]queued, min(max(2*len(w.queue), 64), w.limit))
	for i := range w.size {
		bigger[i] = w.queue[(w.head+i)%len(w.queue)]
	}
	w.queue, w.head = bigger, 0
}

// compact removes the places of what has been taken.
func (w *waiting[V]) compact() {
	kept := 0
	for i := range w.size {
		q := w.queue[(w.head+i)%len(w.queue)]
		if _, ok := w.m[q.key]; ok {
			w.queue[(w.head+kept)%len(w.queue)] = q
			kept++
		}
	}
	w.size = kept
}

func (w *waiting[V]) pop(out func(V)) {
	q := w.queue[w.head]
	w.head = (w.head + 1) % len(w.queue)
	w.size--
	if v, ok := w.m[q.key]; ok {
		delete(w.m, q.key)
		out(v)
	}
}

// expire hands out what was put before sec, oldest first.
func (w *waiting[V]) expire(sec int64, out func(V)) {
	for w.size > 0 && w.queue[w.head].sec < sec {
		w.pop(out)
	}
}

// take removes and returns the value of k. Its place in the queue stays, empty.
func (w *waiting[V]) take(k key) (V, bool) {
	v, ok := w.m[k]
	if ok {
		delete(w.m, k)
	}
	return v, ok
}
