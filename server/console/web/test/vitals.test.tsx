import { render } from 'preact-render-to-string'
import { describe, expect, it } from 'vitest'
import { amount, bytes, metricValue } from '../src/format'
import { chooseLang } from '../src/i18n'
import { take, type Live } from '../src/live'
import * as shape from '../src/normalize'
import { Findings, Locks } from '../src/parts/vitals'
import { vitals } from '../src/promql'

const leak = {
  id: 'g-1', kind: 'goroutines', state: 'open', version: 'v3', instance: 'payment-1', since: '2026-11-23T04:05:06Z', at: '2026-11-23T04:06:06Z', closedAt: null,
  value: 812, before: 31, perMinute: 1200, unit: 'goroutines', count: 781, created: 'payment/receipts.go:39', creator: 'payment.(*receipts).number',
  blocked: 'payment/receipts.go:41', wait: 'chan send', waitSeconds: 61, method: 'growth', text: '+781 goroutines', textZh: '多出 781 个协程', traceId: 'a'.repeat(32),
}

describe('amounts', () => {
  it.each([[0, '0 B'], [999, '999 B'], [1000, '1 kB'], [18.44e6, '18.4 MB'], [999.6e6, '1 GB'], [250e6, '250 MB'], [5e15, '5000 TB'], [-2000, '-2 kB'], [NaN, '–']])('%d bytes read %s', (n, want) => expect(bytes(n)).toBe(want))
  it.each([
    [4812, 'count', '4.8k'], [4812, 'goroutines', '4.8k'], [0.25, 'share', '25%'], [0.012, 's', '12 ms'], [0.012, 'seconds', '12 ms'], [1.5, 's/s', '1.5 s/s'], [2e6, 'bytes', '2 MB'], [7, 'of something', '7'],
  ])('%d %s reads %s', (n, unit, want) => expect(amount(n, unit)).toBe(want))
  it('a symptom is told by its unit, or by its metric', () => {
    expect(metricValue('goroutine_leak', 812)).toBe('812')
    expect(metricValue('heap_growth', 2e6)).toBe('2 MB')
    expect(metricValue('scheduler_latency', 0.06)).toBe('60 ms')
    expect(metricValue('gc_pressure', 0.3, 'share')).toBe('30%')
    expect(metricValue('error_share', 0.3)).toBe('30%')
  })
})

describe('vitals', () => {
  it.each([null, undefined, 3, 'x', [], {}, { findings: {}, locks: [null], instances: 'x' }, { findings: [null, 1] }])('nothing breaks on %j', (v) => {
    const read = shape.vitals(v)
    expect(read.windowSeconds).toBe(60)
    expect(() => render(<><Findings data={read} charts={null} /><Locks locks={read.locks} seconds={300} /></>)).not.toThrow()
  })
  it('a finding becomes a sentence and its facts, in either language', () => {
    const data = shape.vitals({ findings: [leak] })
    const english = render(<Findings data={data} charts={null} />)
    for (const want of ['Goroutine leak', '+781 goroutines', 'v3', 'payment/receipts.go:41', 'on channel send', '1.2k a minute', 'growth over time', '/traces/' + 'a'.repeat(32)]) expect(english).toContain(want)
    chooseLang('zh')
    const chinese = render(<Findings data={data} charts={null} />)
    chooseLang('en')
    for (const want of ['协程泄漏', '多出 781 个协程', '通道发送', '持续增长', '每分钟 1.2k']) expect(chinese).toContain(want)
  })
  it('words of a service stay text', () => {
    const evil = '<img src=x onerror=alert(1)>'
    const all = Object.fromEntries(Object.keys(leak).map((k) => [k, typeof (leak as Record<string, unknown>)[k] === 'string' ? evil : 1]))
    const html = render(<><Findings data={shape.vitals({ findings: [all] })} charts={null} /><Locks locks={[shape.vitals({ locks: [{ name: evil, kind: evil }] }).locks[0]!]} seconds={300} /></>)
    expect(html).not.toContain('<img')
    expect(html).toContain('&lt;img')
  })
  it('what is closed is told apart, and so is what went silent', () => {
    const html = render(<Findings data={shape.vitals({ findings: [{ ...leak, state: 'closed', closedAt: leak.at }, { ...leak, id: 'g-2', state: 'closed', expired: true }] })} charts={null} />)
    for (const want of ['No finding now.', 'Recently closed', 'nothing heard any more']) expect(html).toContain(want)
    expect(html).not.toContain('finding-open')
  })
  it('says in words that there is nothing', () => {
    expect(render(<Findings data={shape.vitals({})} charts={null} />)).toContain('Nothing grows without end')
    expect(render(<Locks locks={[]} seconds={60} />)).toContain('Nobody waited')
    expect(render(<Locks locks={[]} seconds={60} incomplete />)).toContain('cannot be read')
  })
  it('asks by service, whatever its name', () => {
    for (const q of Object.values(vitals('a"b\\', 30))) expect(q).toContain('service_name="a\\"b\\\\"')
  })
  it('a finding on the stream makes pages read again', () => {
    const bare: Live = { overview: null, topology: null, link: 'live', since: 0, bump: 0, found: 0 }
    expect(take(bare, 'finding', {})).toEqual({ ...bare, found: 1 })
  })
  it('a symptom carries its finding', () => {
    const [s] = shape.incident({ symptoms: [{ target: 'payment', metric: 'goroutine_leak', finding: { version: 'v3', text: 'x', unit: 'count' } }] }).symptoms
    expect(s).toMatchObject({ unit: 'count', finding: { version: 'v3', text: 'x', textZh: 'x' } })
    expect(shape.incident({ symptoms: [{ target: 'payment' }] }).symptoms[0]?.finding).toBeNull()
  })
})
