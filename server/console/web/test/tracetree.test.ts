import { describe, expect, it } from 'vitest'
import { chain, extent, palette, tree, visible } from '../src/tracetree'
import type { Span } from '../src/types'

const span = (spanId: string, parentId: string, offsetMs: number, durationMs: number, more: Partial<Span> = {}): Span => ({
  spanId, parentId, service: 's', version: '', instance: '', name: spanId, kind: 'server', start: '', offsetMs, durationMs, error: false, message: '', attributes: {}, events: [], ...more,
})
const drawn = (spans: Span[]): string => tree(spans).map((r) => '.'.repeat(r.depth) + r.span.spanId + (r.orphan ? '?' : '')).join(' ')

describe('tree', () => {
  it.each<[string, Span[], string]>([
    ['nothing', [], ''],
    ['parents first, siblings by start', [span('c', 'a', 5, 1), span('b', 'a', 1, 1), span('d', 'b', 2, 1), span('a', '', 0, 9)], 'a .b ..d .c'],
    ['a parent of zeros is none', [span('a', '0000000000000000', 0, 1)], 'a'],
    ['an unknown parent', [span('a', '', 0, 9), span('x', 'gone', 3, 1)], 'a x?'],
    ['the same span twice', [span('a', '', 0, 9), span('a', '', 0, 9), span('b', 'a', 1, 1)], 'a .b'],
    ['its own parent', [span('a', 'a', 0, 1)], 'a'],
    ['a ring', [span('a', 'c', 0, 1), span('b', 'a', 1, 1), span('c', 'b', 2, 1), span('r', '', 0, 1)], 'r a .b ..c'],
  ])('%s', (_name, spans, want) => expect(drawn(spans)).toBe(want))

  it('shows every span once, however odd the parents', () => {
    let seed = 7
    const random = (n: number): number => (seed = (seed * 48271) % 2147483647) % n
    for (let round = 0; round < 200; round++) {
      const n = 1 + random(30)
      const spans = Array.from({ length: n }, (_, i) => span('s' + i, random(4) === 0 ? '' : 's' + random(n + 2), random(50), random(50)))
      const rows = tree(spans)
      expect(rows.map((r) => r.span.spanId).sort()).toEqual(spans.map((s) => s.spanId).sort())
      rows.forEach((row, i) => {
        let below = 0
        while (rows[i + 1 + below] && (rows[i + 1 + below]?.depth ?? 0) > row.depth) below++
        expect(row.below).toBe(below)
      })
    }
  })
  it('counts own time without what children overlap', () => {
    const rows = tree([span('a', '', 0, 10), span('b', 'a', 1, 4), span('c', 'a', 3, 4), span('d', 'a', 9, 5)])
    expect(rows[0]?.selfMs).toBe(3) // 10 - (1..7) - (9..10)
  })
  it('folds', () => {
    const rows = tree([span('a', '', 0, 9), span('b', 'a', 1, 1), span('c', 'b', 1, 1), span('d', 'a', 3, 1)])
    expect(visible(rows, new Set(['b'])).map((r) => r.span.spanId)).toEqual(['a', 'b', 'd'])
    expect(visible(rows, new Set(['a'])).map((r) => r.span.spanId)).toEqual(['a'])
  })
  it('takes a deep trace without running out of stack', () => {
    const deep = Array.from({ length: 20_000 }, (_, i) => span('s' + i, i === 0 ? '' : 's' + (i - 1), i, 1))
    expect(tree(deep).length).toBe(20_000)
  })
})

describe('chain', () => {
  const failed = { error: true, attributes: { 'error.type': 'unavailable' } }
  it('goes from the first failing caller to the one called', () => {
    const spans = [
      span('g', '', 0, 100, { service: 'gateway', name: 'POST /orders' }),
      span('o', 'g', 1, 98, { service: 'order', name: 'order.Place', ...failed }),
      span('oc', 'o', 2, 96, { service: 'order', name: 'payment.Charge', kind: 'client', ...failed }),
      span('p', 'oc', 3, 94, { service: 'payment', name: 'charge', kind: 'server', error: true, attributes: { 'error.type': 'unavailable', 'surefoot.op': 'payment.Charge' } }),
      span('pc', 'p', 4, 90, { service: 'payment', name: 'POST /charges', kind: 'client', error: true, attributes: { 'error.type': 'timeout', 'peer.service': 'bank' } }),
    ]
    expect(chain(spans).map((h) => `${h.service} ${h.op} ${h.error}`)).toEqual(['order order.Place unavailable', 'payment payment.Charge unavailable', 'bank POST /charges timeout'])
  })
  it('is empty when nothing failed', () => expect(chain([span('a', '', 0, 1)])).toEqual([]))
  it('reads the error from the exception, then from the message', () => {
    const exception = span('a', '', 0, 1, { error: true, events: [{ name: 'exception', at: '', attributes: { 'exception.type': 'conflict' } }] })
    expect(chain([exception])[0]?.error).toBe('conflict')
    expect(chain([span('a', '', 0, 1, { error: true, message: 'no' })])[0]?.error).toBe('no')
  })
})

it('extent covers spans that start before the root or end after it', () => {
  expect(extent([span('a', '', 0, 10), span('b', 'a', -2, 1), span('c', 'a', 8, 9)])).toEqual({ from: -2, to: 17 })
  expect(extent([])).toEqual({ from: 0, to: 1 })
})

it('palette gives known services the same colour whoever else is there', () => {
  expect(palette(['b', 'a', 'b'])).toEqual(new Map([['a', 0], ['b', 1]]))
})
