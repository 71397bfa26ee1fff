import { describe, expect, it } from 'vitest'
import { blank, curve, edgeKey, keepFor, nearest, nodeHeight, nodeWidth, place, recall, stay, structure } from '../src/layout'
import type { Edge, Node, Topology } from '../src/types'

const names = ['gateway', 'user', 'order', 'payment', 'inventory', 'bank', 'warehouse']
const ties = [['gateway', 'user'], ['gateway', 'order'], ['order', 'payment'], ['order', 'inventory'], ['payment', 'bank'], ['inventory', 'warehouse']].map(([from = '', to = '']) => ({ from, to }))
const stats = { rate: 1, errorShare: 0, p50Ms: 1, p99Ms: 2 }
const node = (name: string): Node => ({ name, kind: 'service', state: 'ok', owner: '', versions: [], findings: 0, ...stats })
const edge = (e: { from: string; to: string }): Edge => ({ ...e, protocol: 'http', strong: true, external: false, state: 'ok', ...stats })
const topology = (n = names, e = ties): Topology => ({ at: '', nodes: n.map(node), edges: e.map(edge) })

describe('place', () => {
  it('does not depend on the order it is told in', () => {
    const a = place(names, ties)
    const b = place([...names].reverse(), [...ties].reverse())
    expect([...b.nodes]).toEqual([...a.nodes])
    expect([...b.edges]).toEqual([...a.edges])
  })
  it('puts callers left of callees and no two boxes on each other', () => {
    const p = place(names, ties)
    for (const e of ties) expect(p.nodes.get(e.from)?.x).toBeLessThan(p.nodes.get(e.to)?.x ?? 0)
    const all = [...p.nodes.values()]
    all.forEach((a, i) => all.slice(i + 1).forEach((b) => expect(Math.abs(a.x - b.x) >= nodeWidth || Math.abs(a.y - b.y) >= nodeHeight).toBe(true)))
  })
  it('docks edges on the sides of the boxes', () => {
    const p = place(names, ties)
    for (const e of ties) {
      const points = p.edges.get(edgeKey(e.from, e.to))?.points ?? []
      expect(points[0]?.x).toBeCloseTo((p.nodes.get(e.from)?.x ?? 0) + nodeWidth / 2, 0)
      expect(points[points.length - 1]?.x).toBeCloseTo((p.nodes.get(e.to)?.x ?? 0) - nodeWidth / 2, 0)
    }
  })
  it.each<[string, string[], { from: string; to: string }[]]>([
    ['nothing', [], []], ['one node', ['a'], []], ['a call to itself', ['a'], [{ from: 'a', to: 'a' }]], ['a ring', ['a', 'b'], [{ from: 'a', to: 'b' }, { from: 'b', to: 'a' }]],
    ['an unknown end', ['a'], [{ from: 'a', to: 'b' }]], ['hostile names', ['__proto__', 'constructor', '<script>', 'a\u0001b'], [{ from: '__proto__', to: 'constructor' }]],
  ])('takes %s', (_name, n, e) => {
    const p = place(n, e)
    expect(p.nodes.size).toBe(n.length)
    for (const at of p.nodes.values()) expect(Number.isFinite(at.x) && Number.isFinite(at.y)).toBe(true)
  })
  it('places two hundred nodes', () => {
    const many = Array.from({ length: 200 }, (_, i) => 's' + i)
    const e = many.slice(1).map((to, i) => ({ from: 's' + Math.floor(i / 3), to }))
    expect(place(many, e).nodes.size).toBe(200)
  })
})

describe('stability', () => {
  it('keeps the very same picture while the structure is the same', () => {
    const first = stay(null, names, ties)
    expect(stay(first, [...names].reverse(), ties)).toBe(first)
    expect(stay(first, [...names, 'new'], ties)).not.toBe(first)
  })
  it('tells names apart that look alike when joined', () => {
    expect(structure(['a', 'b,c'], [])).not.toBe(structure(['a,b', 'c'], []))
    expect(edgeKey('a', 'b')).not.toBe(edgeKey('a","b', ''))
  })
  it('remembers a quiet node and edge for a while, as idle', () => {
    const full = recall(blank(), topology(), 0)
    const less = topology(names.filter((n) => n !== 'bank'), ties.filter((e) => e.to !== 'bank'))
    const soon = recall(full, less, keepFor - 1)
    expect(soon.nodes.get('bank')?.node).toMatchObject({ state: 'idle', rate: 0 })
    expect(soon.edges.get(edgeKey('payment', 'bank'))?.edge.state).toBe('idle')
    const later = recall(soon, less, keepFor + 1)
    expect(later.nodes.has('bank')).toBe(false)
    expect(later.edges.has(edgeKey('payment', 'bank'))).toBe(false)
    expect(later.nodes.size).toBe(names.length - 1)
  })
})

it('arrow keys walk the picture', () => {
  const p = place(names, ties)
  expect(nearest(p, 'payment', 1, 0)).toBe('bank')
  expect(nearest(p, 'bank', -1, 0)).toBe('payment')
  expect(nearest(p, 'bank', 1, 0)).toBe('bank')
  expect(nearest(p, 'nobody', 1, 0)).not.toBe('')
})

it('curve draws through every point', () => {
  expect(curve([])).toBe('')
  expect(curve([{ x: 0, y: 0 }, { x: 10, y: 4 }])).toBe('M0,0C5,0 5,4 10,4')
  expect(curve([{ x: 5, y: 0 }, { x: 1, y: 4 }])).toBe('M5,0L1,4')
})
