// From a bag of spans to what a person reads: a tree in order, and the chain of
// an error. Spans come late, twice, with unknown parents or in a ring; none of
// that may hide a span or hang the page.
import type { Hop, Span } from './types'

export interface Row {
  span: Span
  depth: number
  kids: number // direct children
  below: number // all descendants
  orphan: boolean // its parent has not arrived
  selfMs: number // not spent in its children
}

interface Branch {
  span: Span
  kids: Branch[]
  orphan: boolean
}

// tree orders spans parent first, siblings by start. Every span comes out once.
export function tree(spans: Span[]): Row[] {
  const all = new Map<string, Branch>()
  for (const span of spans) if (!all.has(span.spanId)) all.set(span.spanId, { span, kids: [], orphan: false })
  const roots: Branch[] = []
  for (const b of all.values()) {
    const parent = all.get(b.span.parentId)
    if (b.span.parentId === '' || /^0+$/.test(b.span.parentId)) roots.push(b)
    else if (parent && parent !== b) parent.kids.push(b)
    else {
      b.orphan = parent !== b
      roots.push(b)
    }
  }
  const early = (a: Branch, b: Branch): number => a.span.offsetMs - b.span.offsetMs || (a.span.spanId < b.span.spanId ? -1 : 1)
  const rows: Row[] = []
  const seen = new Set<Branch>()
  const walk = (root: Branch): void => {
    const stack: { b: Branch; depth: number }[] = [{ b: root, depth: 0 }]
    for (let top = stack.pop(); top; top = stack.pop()) {
      const { b, depth } = top
      if (seen.has(b)) continue
      seen.add(b)
      b.kids.sort(early)
      rows.push({ span: b.span, depth, kids: b.kids.length, below: 0, orphan: b.orphan, selfMs: selfTime(b) })
      for (let k = b.kids.length - 1; k >= 0; k--) stack.push({ b: b.kids[k] as Branch, depth: depth + 1 })
    }
  }
  roots.sort(early).forEach(walk)
  // What is left hangs in a ring of parents: break each ring at its first span.
  for (const b of [...all.values()].sort(early)) if (!seen.has(b)) walk(b)
  // Backwards, a parent comes right after all that is below it: waiting[d]
  // counts the spans at depth d and below that have not met their parent.
  const waiting: number[] = []
  for (let i = rows.length - 1; i >= 0; i--) {
    const row = rows[i] as Row
    row.below = waiting[row.depth + 1] ?? 0
    waiting[row.depth + 1] = 0
    waiting[row.depth] = (waiting[row.depth] ?? 0) + row.below + 1
  }
  return rows
}

function selfTime(b: Branch): number {
  const end = b.span.offsetMs + b.span.durationMs
  let busy = 0
  let reach = b.span.offsetMs
  for (const k of b.kids) {
    const from = Math.max(k.span.offsetMs, reach)
    const to = Math.min(k.span.offsetMs + k.span.durationMs, end)
    if (to > from) {
      busy += to - from
      reach = to
    }
  }
  return Math.max(0, b.span.durationMs - busy)
}

// visible leaves out what is below a folded span.
export function visible(rows: Row[], folded: ReadonlySet<string>): Row[] {
  const out: Row[] = []
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as Row
    out.push(row)
    if (folded.has(row.span.spanId)) i += row.below
  }
  return out
}

// extent is the time all spans cover; bars are drawn against it.
export function extent(spans: Span[]): { from: number; to: number } {
  let from = 0
  let to = 0
  for (const s of spans) {
    from = Math.min(from, s.offsetMs)
    to = Math.max(to, s.offsetMs + s.durationMs)
  }
  return { from, to: to > from ? to : from + 1 }
}

const errorOf = (s: Span): string => {
  const exception = s.events.find((e) => e.name === 'exception')
  return s.attributes['error.type'] || exception?.attributes['exception.type'] || s.message || 'error'
}

// chain builds the error chain when the server sent none: the failing spans on
// the way to the deepest failure, one hop per service, origin last. A failing
// call to somebody who sent no span of his own blames the one called.
export function chain(spans: Span[]): Hop[] {
  const rows = tree(spans)
  let best = -1
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as Row
    if (row.span.error && (best < 0 || row.depth > (rows[best] as Row).depth)) best = i
  }
  if (best < 0) return []
  const path: Row[] = []
  for (let i = best, depth = Infinity; i >= 0 && depth > 0; i--) {
    const row = rows[i] as Row
    if (row.depth < depth) {
      depth = row.depth
      if (row.span.error) path.unshift(row)
    }
  }
  const hops: Hop[] = []
  for (const { span } of path) {
    if (hops[hops.length - 1]?.service === span.service) continue
    hops.push({ service: span.service, op: span.attributes['surefoot.op'] || span.name, error: errorOf(span), at: span.start, elapsedMs: span.durationMs })
  }
  const last = path[path.length - 1] as Row
  const callee = last.span.attributes['peer.service'] || last.span.attributes['service.peer.name'] || last.span.attributes['server.address'] || ''
  if (last.span.kind === 'client' && last.kids === 0 && callee !== '') {
    hops.push({ service: callee, op: last.span.name, error: errorOf(last.span), at: last.span.start, elapsedMs: last.span.durationMs })
  }
  return hops
}

export const hues = 10

// palette gives each service a colour. All known services go in, so that one
// keeps its colour from page to page; two share one only beyond ten services.
export function palette(known: Iterable<string>): Map<string, number> {
  return new Map([...new Set(known)].sort().map((name, i) => [name, i % hues]))
}
