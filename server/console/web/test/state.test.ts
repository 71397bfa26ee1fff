import { describe, expect, it } from 'vitest'
import { advance, backfill, slot, slots } from '../src/history'
import { pick } from '../src/i18n'
import { en } from '../src/i18n/en'
import { zh } from '../src/i18n/zh'
import { backoff, take, withIncident, type Live } from '../src/live'
import * as shape from '../src/normalize'
import { arrange } from '../src/pages/overview'
import { conditions } from '../src/pages/traces'
import { join } from '../src/parts/chart-data'
import { fit } from '../src/parts/drawing'
import { note, unfold } from '../src/logtext'
import { ofService, quoteValue } from '../src/promql'
import { href, match } from '../src/router'

const bare: Live = { overview: null, topology: null, link: 'live', since: 0, bump: 0, found: 0 }

describe('language', () => {
  it.each([
    [null, ['zh-CN', 'en'], 'zh'], [null, ['fr', 'en-GB'], 'en'], [null, ['zh-TW'], 'zh'], [null, ['fr'], 'en'], [null, [], 'en'], ['en', ['zh'], 'en'], ['xx', ['zh'], 'zh'],
  ] as const)('remembered %s, preferred %j: %s', (remembered, preferred, want) => expect(pick(remembered, preferred)).toBe(want))
  it('has every text in both languages, none empty', () => {
    const walk = (a: Record<string, unknown>, b: Record<string, unknown>, path: string): void => {
      expect(Object.keys(b).sort(), path).toEqual(Object.keys(a).sort())
      for (const k of Object.keys(a)) {
        const x = a[k]
        const y = b[k]
        expect(typeof y, path + k).toBe(typeof x)
        if (typeof x === 'string') expect(y, path + k).not.toBe('')
        else if (typeof x === 'object') walk(x as Record<string, unknown>, y as Record<string, unknown>, path + k + '.')
      }
    }
    walk(en, zh, '')
  })
})

describe('addresses', () => {
  it.each(['payment', 'a/b', 'a b', '<script>alert(1)</script>', '结算', 'x.y', '%41', '?', '#'])('service %s survives its address', (service) => {
    const url = new URL(href.service(service), 'http://x')
    expect(match(url.pathname, url.search)).toEqual({ name: 'service', service })
  })
  it.each([
    ['/', '', 'overview'], ['/index.html', '', 'overview'], ['/topology', '', 'topology'], ['/services', '', 'overview'], ['/traces', '?service=a', 'traces'],
    ['/traces/abc', '', 'trace'], ['/incidents', '', 'incidents'], ['/incidents/i', '', 'incident'], ['/nope', '', 'nowhere'], ['/topology/x', '', 'nowhere'], ['/services/%E0%A4%A', '', 'service'],
  ])('%s%s is %s', (path, search, want) => expect(match(path, search).name).toBe(want))
})

describe('live events', () => {
  const i = (id: string, state: 'open' | 'resolved', openedAt: string) => shape.incident({ id, state, openedAt })
  it('replaces an incident and keeps open ones first', () => {
    const all = [i('a', 'open', '2'), i('b', 'resolved', '3')]
    expect(withIncident(all, i('a', 'resolved', '2')).map((x) => x.id)).toEqual(['b', 'a'])
    expect(withIncident(all, i('c', 'open', '1')).map((x) => x.id)).toEqual(['a', 'c', 'b'])
  })
  it('takes one incident or many, and bumps', () => {
    const s = take(bare, 'overview', {})
    expect(take(s, 'incident', { id: 'x' }).overview?.incidents.length).toBe(1)
    const many = take(s, 'incident', { incidents: [{ id: 'x' }, { id: 'y' }] })
    expect(many.overview?.incidents.length).toBe(2)
    expect(many.bump).toBe(1)
    expect(take(s, 'route', { service: 'p', weight: 5 }).overview?.routes[0]?.weight).toBe(5)
    expect(take(s, 'unheard', {})).toBe(s)
  })
  it('backs off with jitter up to eight seconds', () => {
    expect(backoff(0, 0)).toBe(250)
    expect(backoff(0, 1)).toBe(500)
    expect(backoff(50, 1)).toBe(8000)
  })
})

describe('shapes', () => {
  it.each([null, undefined, 3, 'x', [], {}, { nodes: null, services: {}, incidents: [null], result: 1 }])('nothing breaks on %j', (v) => {
    for (const read of [shape.overview, shape.topology, shape.service, shape.traces, shape.trace, shape.logs, shape.incident, shape.report, shape.route, shape.series]) expect(() => read(v)).not.toThrow()
    expect(shape.overview(v).services).toEqual([])
  })
  it('leaves out values that are not numbers', () => {
    const s = shape.series({ data: { result: [{ metric: { a: 'b' }, values: [[1, '2'], [2, 'NaN'], [3, '+Inf'], 'x'] }, { value: [4, '5'] }] } })
    expect(s).toEqual([{ labels: { a: 'b' }, points: [[1, 2]] }, { labels: {}, points: [[4, 5]] }])
  })
  it('a review without a version is none', () => {
    expect(shape.route({ review: null }).review).toBeNull()
    expect(shape.route({ review: { version: 'v2', reason: 'r' } }).review?.pending).toBe(true)
  })
})

describe('history', () => {
  const n = (rate: number) => [shape.node({ name: 'a', rate, errorShare: 0, p99Ms: 1 })]
  it('keeps one value a slot, the newest', () => {
    let h = advance({ last: 0, lanes: new Map() }, n(1), slot * 100)
    h = advance(h, n(2), slot * 100 + 5)
    expect(h.lanes.get('a')?.rate).toEqual([2])
    h = advance(h, n(3), slot * 103)
    expect(h.lanes.get('a')?.rate).toEqual([2, 2, 2, 3])
    for (let k = 0; k < 200; k++) h = advance(h, n(k), slot * (104 + k))
    expect(h.lanes.get('a')?.rate.length).toBe(slots)
  })
  it('puts the past before the present', () => {
    const h = advance({ last: 0, lanes: new Map() }, n(9), slot * 100)
    const points = Array.from({ length: 4 }, (_, k): [number, number] => [((97 + k) * slot) / 1000, k])
    expect(backfill(h, 'rate', [{ labels: { service_name: 'a' }, points }]).lanes.get('a')?.rate).toEqual([0, 1, 2, 9])
  })
})

describe('questions', () => {
  it('quotes names', () => {
    expect(quoteValue('a"b\\c\nd')).toBe('"a\\"b\\\\c\\nd"')
    expect(ofService('x"} or vector(1) #', 30, true).rate).toContain('service_name="x\\"} or vector(1) #"')
  })
  it('a search between two times does not also look back', () => {
    const f = { service: 's', operation: '', minMs: '', error: '', range: '60', from: '', to: '', limit: '50' }
    expect(conditions(f, 3_600_000).from).toBe('1970-01-01T00:00:00.000Z')
    expect(conditions({ ...f, range: '0' }, 3_600_000).from).toBe('')
    expect(conditions({ ...f, from: 'a', to: 'b' }, 0)).toMatchObject({ from: 'a', to: 'b' })
  })
  it('joins series of different times with gaps', () => {
    expect(join([{ labels: {}, points: [[1, 10], [3, 30]] }, { labels: {}, points: [[2, 20]] }])).toEqual([[1, 2, 3], [10, null, 30], [null, 20, null]])
  })
})

it('sorts services worst first, then by name', () => {
  const nodes = [['b', 'ok', 5], ['a', 'ok', 1], ['c', 'bad', 0]].map(([name, state, rate]) => shape.node({ name, state, rate }))
  expect(arrange(nodes, 'state', '').map((x) => x.name)).toEqual(['c', 'a', 'b'])
  expect(arrange(nodes, 'rate', '').map((x) => x.name)).toEqual(['b', 'a', 'c'])
  expect(arrange(nodes, 'name', ' B ').map((x) => x.name)).toEqual(['b'])
})

it('fits long names into a width', () => {
  const wide = (s: string): number => [...s].reduce((w, c) => w + (c > '\u1100' && c !== '…' ? 12 : 7), 0)
  expect(fit('payment', 140, wide)).toBe('payment')
  expect(fit('sqlite/payments@payment', 140, wide)).toBe('sqlite/payments@pay…')
  expect(fit('结算对账中心服务平台与清分', 100, wide)).toBe('结算对账中心服…')
  expect(fit('😀😀😀😀', 30, wide)).toBe('😀…')
  expect(fit('x', 0, wide)).toBe('…')
})

describe('log attributes', () => {
  const panic = { code: 'INTERNAL', elapsed_us: '200', trace_id: 'x', error: JSON.stringify({ cause: { panic: 'nil map', stack: 'a\nb' }, id: 'internal_error', message: 'something went wrong' }) }
  it('unfolds structured errors', () => {
    expect(unfold(panic)).toContainEqual(['error.cause.stack', 'a\nb'])
    expect(unfold({ a: '{broken', b: '[1]' })).toEqual([['a', '{broken'], ['b', '[1]']])
    expect(unfold({ a: JSON.stringify({ b: { c: { d: { e: { f: 1 } } } } }) })).toEqual([['a.b.c.d.e', '{"f":1}']])
  })
  it('says why first, without stack and ids', () => {
    expect(note(panic)).toBe('nil map · something went wrong · code=INTERNAL · error.id=internal_error')
    expect(note({})).toBe('')
    expect(note({ error: 'x'.repeat(999) }).length).toBe(241)
  })
})
