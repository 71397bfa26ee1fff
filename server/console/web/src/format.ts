// How numbers and times read. Pure; the locale and the clock are arguments.

const trim = (s: string): string => s.replace(/\.0+$|(\.\d*[1-9])0+$/, '$1')

// rate formats requests per second: three figures, never more.
export function rate(perSecond: number): string {
  return short(perSecond) + '/s'
}

// short formats a count or an amount in three figures: 0.05, 9.1, 950, 1.2k, 3.4M.
export function short(n: number): string {
  const a = Math.abs(n)
  if (!Number.isFinite(n)) return '–'
  if (a === 0) return '0'
  if (a < 0.01) return n > 0 ? '<0.01' : '>-0.01'
  if (a < 1) return trim(n.toFixed(2))
  if (a < 99.95) return trim(n.toFixed(1))
  if (a < 999.5) return String(Math.round(n))
  if (a < 999_500) return trim((n / 1e3).toFixed(a < 9_950 ? 1 : 0)) + 'k'
  if (a < 999_500_000) return trim((n / 1e6).toFixed(a < 9_950_000 ? 1 : 0)) + 'M'
  return trim((n / 1e9).toFixed(a < 9_950_000_000 ? 1 : 0)) + 'G'
}

// bytes formats an amount of memory in three figures, in powers of 1000.
export function bytes(n: number): string {
  if (!Number.isFinite(n)) return '–'
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let i = 0
  while (Math.abs(n) >= 999.5 && i < units.length - 1) {
    n /= 1000
    i++
  }
  return (Math.abs(n) >= 99.95 || i === 0 ? String(Math.round(n)) : trim(n.toFixed(1))) + ' ' + units[i]
}

// amount formats a value of a finding by its unit.
export function amount(value: number, unit: string): string {
  switch (unit) {
    case 'bytes':
      return bytes(value)
    case 's':
    case 'seconds':
      return ms(value * 1000)
    case 's/s':
      return ms(value * 1000) + '/s'
    case 'share':
      return share(value)
    default:
      return short(value)
  }
}

// share formats a part of one as a percentage. A small but real share never
// reads as 0 %, and one below the whole never as 100 %.
export function share(x: number): string {
  if (!Number.isFinite(x)) return '–'
  const p = x * 100
  if (p <= 0) return '0%'
  if (p < 0.1) return '<0.1%'
  if (p >= 100) return '100%'
  if (p > 99.9) return '>99.9%'
  return trim(p.toFixed(p < 10 ? 1 : p > 99 ? 1 : 0)) + '%'
}

// ms formats a duration given in milliseconds.
export function ms(n: number): string {
  if (!Number.isFinite(n)) return '–'
  if (n <= 0) return '0 ms'
  if (n < 0.01) return '<0.01 ms'
  if (n < 1) return trim(n.toFixed(2)) + ' ms'
  if (n < 10) return trim(n.toFixed(1)) + ' ms'
  if (n < 999.5) return Math.round(n) + ' ms'
  if (n < 9_995) return trim((n / 1000).toFixed(2)) + ' s'
  if (n < 59_950) return trim((n / 1000).toFixed(1)) + ' s'
  const seconds = Math.round(n / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${String(seconds % 60).padStart(2, '0')} s`
  return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')} m`
}

export interface Units {
  s: string
  min: string
  h: string
  d: string
}

// span formats how long something took or how long ago it was, in one unit.
export function span(millis: number, u: Units): string {
  const s = Math.max(0, Math.floor(millis / 1000))
  if (s < 60) return `${s} ${u.s}`
  if (s < 3600) return `${Math.floor(s / 60)} ${u.min}`
  if (s < 48 * 3600) {
    const m = Math.floor((s % 3600) / 60)
    return m > 0 && s < 10 * 3600 ? `${Math.floor(s / 3600)} ${u.h} ${m} ${u.min}` : `${Math.floor(s / 3600)} ${u.h}`
  }
  return `${Math.floor(s / 86400)} ${u.d}`
}

const two = (n: number): string => String(n).padStart(2, '0')

// parse reads an RFC 3339 time; null when there is none. Go's zero time counts as none.
export function parse(at: string): Date | null {
  if (at === '' || at.startsWith('0001-')) return null
  const d = new Date(at)
  return Number.isNaN(d.getTime()) ? null : d
}

// clock formats a time of day in the reader's zone, with the day in front when
// it is not today's.
export function clock(at: string, now: number, millis = false): string {
  const d = parse(at)
  if (d === null) return '–'
  const time = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}` + (millis ? '.' + String(d.getMilliseconds()).padStart(3, '0') : '')
  const today = new Date(now)
  if (d.toDateString() === today.toDateString()) return time
  const day = `${two(d.getMonth() + 1)}-${two(d.getDate())}`
  return (d.getFullYear() === today.getFullYear() ? day : `${d.getFullYear()}-${day}`) + ' ' + time
}

// metricValue formats a symptom's number by its unit, or by the metric it
// belongs to.
export function metricValue(metric: string, value: number, unit = ''): string {
  if (unit !== '') return amount(value, unit)
  if (metric === 'heap_growth' || metric === 'stack_growth') return bytes(value)
  if (metric === 'scheduler_latency') return amount(value, 's')
  if (metric.includes('share')) return share(value)
  if (metric.includes('latency') || metric.endsWith('Ms') || metric.includes('p99') || metric.includes('p50')) return ms(value)
  if (metric.includes('rate')) return rate(value)
  return short(value)
}
