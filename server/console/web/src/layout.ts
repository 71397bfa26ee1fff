// Where the nodes of the topology stand. The picture must hold still: it is
// computed again only when a node or an edge comes or goes for good, from
// sorted input, so that two people see the same picture.
import { Graph, layout as dagre } from '@dagrejs/dagre'
import type { Edge, Node, Topology } from './types'

export const nodeWidth = 184
export const nodeHeight = 64
const labelWidth = 96
const labelHeight = 18

export interface Placed {
  x: number // centre
  y: number
}

export interface Picture {
  key: string
  width: number
  height: number
  nodes: Map<string, Placed>
  edges: Map<string, { points: Placed[]; label: Placed }>
}

export const edgeKey = (from: string, to: string): string => JSON.stringify([from, to])

// key names the structure: same key, same picture.
export function structure(nodes: readonly string[], edges: readonly { from: string; to: string }[]): string {
  return JSON.stringify([[...nodes].sort(), edges.map((e) => edgeKey(e.from, e.to)).sort()])
}

export function place(names: readonly string[], edges: readonly { from: string; to: string }[]): Picture {
  const g = new Graph({ directed: true, multigraph: false, compound: false })
  g.setGraph({ rankdir: 'LR', ranksep: 74, nodesep: 26, edgesep: 18, marginx: 20, marginy: 20 })
  g.setDefaultEdgeLabel(() => ({}))
  const sorted = [...new Set(names)].sort()
  // dagre keeps nodes as keys of plain objects, where a service called
  // "__proto__" breaks everybody's picture: it gets numbers instead.
  const id = new Map(sorted.map((name, i) => [name, 'n' + i]))
  const of = (name: string): string => id.get(name) as string
  for (const name of id.values()) g.setNode(name, { width: nodeWidth, height: nodeHeight })
  const ties = edges
    .filter((e) => id.has(e.from) && id.has(e.to) && e.from !== e.to)
    .sort((a, b) => (edgeKey(a.from, a.to) < edgeKey(b.from, b.to) ? -1 : 1))
  for (const e of ties) g.setEdge(of(e.from), of(e.to), { width: labelWidth, height: labelHeight, labelpos: 'c', weight: 1, minlen: 1 })
  dagre(g)
  const nodes = new Map<string, Placed>()
  for (const name of sorted) {
    const n = g.node(of(name)) as unknown as Placed
    nodes.set(name, { x: round(n.x), y: round(n.y) })
  }
  const drawn: Picture['edges'] = new Map()
  for (const e of ties) {
    const d = g.edge(of(e.from), of(e.to)) as unknown as { points: Placed[]; x?: number; y?: number }
    const points = d.points.map((p) => ({ x: round(p.x), y: round(p.y) }))
    const middle = points[Math.floor(points.length / 2)] ?? { x: 0, y: 0 }
    drawn.set(edgeKey(e.from, e.to), { points, label: { x: round(d.x ?? middle.x), y: round(d.y ?? middle.y) } })
  }
  dock(nodes, ties, drawn)
  const size = g.graph() as { width?: number; height?: number }
  return { key: structure(names, edges), width: Math.max(1, round(size.width ?? 1)), height: Math.max(1, round(size.height ?? 1)), nodes, edges: drawn }
}

// dock lets an edge leave its caller on the right and arrive on the left, each
// at a place of its own, in the order of the other ends: lines do not cross a
// box. An edge that runs backwards (a ring of calls) keeps dagre's way.
function dock(nodes: Picture['nodes'], ties: readonly { from: string; to: string }[], drawn: Picture['edges']): void {
  const at = (name: string): Placed => nodes.get(name) as Placed
  const forward = ties.filter((e) => at(e.from).x + nodeWidth < at(e.to).x)
  for (const [end, other, side] of [['from', 'to', 1], ['to', 'from', -1]] as const) {
    for (const name of new Set(forward.map((e) => e[end]))) {
      const here = forward.filter((e) => e[end] === name)
      const next = (e: { from: string; to: string }): Placed => {
        const points = drawn.get(edgeKey(e.from, e.to))?.points ?? []
        return points[side === 1 ? 1 : points.length - 2] ?? at(e[other])
      }
      here.sort((a, b) => next(a).y - next(b).y || (a[other] < b[other] ? -1 : 1))
      const gap = Math.min(14, (nodeHeight - 24) / here.length)
      here.forEach((e, i) => {
        const points = drawn.get(edgeKey(e.from, e.to))?.points
        if (!points) return
        points[side === 1 ? 0 : points.length - 1] = { x: round(at(name).x + (side * nodeWidth) / 2), y: round(at(name).y + (i - (here.length - 1) / 2) * gap) }
      })
    }
  }
}

const round = (n: number): number => Math.round(n * 10) / 10

// stay returns the old picture as long as the structure is the same.
export function stay(old: Picture | null, names: readonly string[], edges: readonly { from: string; to: string }[]): Picture {
  return old !== null && old.key === structure(names, edges) ? old : place(names, edges)
}

// curve draws a line through points that runs level at each of them.
export function curve(points: readonly Placed[]): string {
  const [first, ...rest] = points
  if (!first) return ''
  let d = `M${first.x},${first.y}`
  let last = first
  for (const p of rest) {
    const mid = round((last.x + p.x) / 2)
    d += p.x > last.x ? `C${mid},${last.y} ${mid},${p.y} ${p.x},${p.y}` : `L${p.x},${p.y}`
    last = p
  }
  return d
}

// Memory keeps what was seen lately, so that a quiet edge does not make the
// whole picture jump.
export interface Memory {
  nodes: Map<string, { node: Node; at: number }>
  edges: Map<string, { edge: Edge; at: number }>
}

export const blank = (): Memory => ({ nodes: new Map(), edges: new Map() })

export const keepFor = 5 * 60_000 // ms after which what is gone is forgotten

const quiet = { rate: 0, errorShare: 0, p50Ms: 0, p99Ms: 0 }

// recall folds a new topology in. What is missing from it stays as idle.
export function recall(old: Memory, t: Topology, now: number): Memory {
  const next = blank()
  for (const [name, had] of old.nodes) if (now - had.at < keepFor) next.nodes.set(name, { at: had.at, node: { ...had.node, ...quiet, state: 'idle', versions: [] } })
  for (const [key, had] of old.edges) if (now - had.at < keepFor) next.edges.set(key, { at: had.at, edge: { ...had.edge, ...quiet, state: 'idle' } })
  for (const node of t.nodes) if (node.name !== '') next.nodes.set(node.name, { node, at: now })
  for (const edge of t.edges) {
    if (!next.nodes.has(edge.from) || !next.nodes.has(edge.to)) continue
    next.edges.set(edgeKey(edge.from, edge.to), { edge, at: now })
  }
  for (const [key, { edge }] of next.edges) if (!next.nodes.has(edge.from) || !next.nodes.has(edge.to)) next.edges.delete(key)
  return next
}

// nearest finds the node to go to from one in a direction, for arrow keys.
export function nearest(p: Picture, from: string, dx: number, dy: number): string {
  const a = p.nodes.get(from)
  if (!a) return [...p.nodes.keys()][0] ?? ''
  let best = from
  let least = Infinity
  for (const [name, b] of p.nodes) {
    if (name === from) continue
    const along = (b.x - a.x) * dx + (b.y - a.y) * dy
    const across = Math.abs((b.x - a.x) * dy) + Math.abs((b.y - a.y) * dx)
    if (along <= 1) continue
    const cost = along + 2 * across
    if (cost < least) {
      least = cost
      best = name
    }
  }
  return best
}
