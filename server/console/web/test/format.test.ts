import { describe, expect, it } from 'vitest'
import { clock, metricValue, ms, parse, rate, share, short, span } from '../src/format'

const units = { s: 's', min: 'min', h: 'h', d: 'd' }

describe('numbers', () => {
  it.each([
    [0, '0/s'], [0.004, '<0.01/s'], [0.05, '0.05/s'], [0.999, '1/s'], [9.14, '9.1/s'], [20, '20/s'], [99.96, '100/s'], [100.4, '100/s'], [950, '950/s'],
    [999.6, '1k/s'], [1234, '1.2k/s'], [12_345, '12k/s'], [1_250_000, '1.3M/s'], [Number.NaN, '–/s'],
  ])('rate %d is %s', (n, want) => expect(rate(n)).toBe(want))
  it.each([
    [0, '0%'], [-1, '0%'], [0.0001, '<0.1%'], [0.0123, '1.2%'], [0.03, '3%'], [0.314, '31%'], [0.995, '99.5%'], [0.9999, '>99.9%'], [1, '100%'], [Number.POSITIVE_INFINITY, '–'],
  ])('share %d is %s', (n, want) => expect(share(n)).toBe(want))
  it.each([
    [0, '0 ms'], [0.001, '<0.01 ms'], [0.41, '0.41 ms'], [3.14, '3.1 ms'], [12.6, '13 ms'], [999.4, '999 ms'], [999.6, '1 s'], [1234, '1.23 s'], [12_345, '12.3 s'],
    [65_000, '1 m 05 s'], [3_725_000, '1 h 02 m'], [Number.NaN, '–'],
  ])('%d ms is %s', (n, want) => expect(ms(n)).toBe(want))
  it('never writes more than three figures', () => {
    for (let e = -4; e < 11.9; e += 0.01) expect(short(10 ** e).replace(/[^0-9]/g, '').length, String(10 ** e)).toBeLessThanOrEqual(3)
  })
  it('chooses the unit by the metric', () => {
    expect(metricValue('error_share', 0.31)).toBe('31%')
    expect(metricValue('latency_p99', 1020)).toBe('1.02 s')
    expect(metricValue('depth', 17)).toBe('17')
  })
})

describe('times', () => {
  it.each([[-5, '0 s'], [12_000, '12 s'], [61_000, '1 min'], [3_660_000, '1 h 1 min'], [7_200_000, '2 h'], [36_000_000 + 60_000, '10 h'], [3 * 86_400_000, '3 d']])(
    '%d ms ago is %s', (n, want) => expect(span(n, units)).toBe(want))
  it('knows no time when it sees none', () => {
    expect(parse('')).toBeNull()
    expect(parse('0001-01-01T00:00:00Z')).toBeNull()
    expect(parse('yesterday')).toBeNull()
    expect(clock('', 0)).toBe('–')
  })
  it('names the day only when it is not today', () => {
    const now = new Date(2026, 10, 23, 12, 0, 0).getTime()
    expect(clock(new Date(2026, 10, 23, 3, 4, 5, 67).toISOString(), now)).toBe('03:04:05')
    expect(clock(new Date(2026, 10, 23, 3, 4, 5, 67).toISOString(), now, true)).toBe('03:04:05.067')
    expect(clock(new Date(2026, 10, 22, 3, 4, 5).toISOString(), now)).toBe('11-22 03:04:05')
    expect(clock(new Date(2025, 10, 22, 3, 4, 5).toISOString(), now)).toBe('2025-11-22 03:04:05')
  })
})
