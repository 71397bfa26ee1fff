// What a log line's attributes say, in one line and in full. Structured errors
// arrive as JSON inside one attribute; a person wants the panic and the stack,
// not the quotes.

const mostKeys = 80
const deepest = 4

// unfold turns JSON objects among the values into dotted keys.
export function unfold(attributes: Record<string, string>): [string, string][] {
  const out: [string, string][] = []
  const add = (key: string, value: unknown, depth: number): void => {
    if (out.length >= mostKeys) return
    if (typeof value === 'object' && value !== null && !Array.isArray(value) && depth < deepest) {
      for (const [k, v] of Object.entries(value)) add(`${key}.${k}`, v, depth + 1)
    } else out.push([key, typeof value === 'string' ? value : JSON.stringify(value)])
  }
  for (const key of Object.keys(attributes).sort()) {
    const value = attributes[key] as string
    let parsed: unknown = value
    if (value.startsWith('{') && value.length < 100_000) {
      try {
        parsed = JSON.parse(value)
      } catch {
        // only looks like it
      }
    }
    add(key, parsed, 0)
  }
  return out
}

const reasons = /(^|\.)(panic|cause|message|error|err|reason|exception\.message)$/
const boring = /(^|\.)(stack|stacktrace|exception\.stacktrace|trace_id|span_id|traceId|spanId|time|elapsed_ms|elapsed_us|at)$|^surefoot\.finding\b/ // a finding says all of it in its sentence

// note is the short form beside the line: why first, then the small facts.
export function note(attributes: Record<string, string>, limit = 240): string {
  const all = unfold(attributes).filter(([k, v]) => !boring.test(k) && v !== '')
  const why = all.filter(([k]) => reasons.test(k)).sort(([a], [b]) => rank(a) - rank(b)).map(([, v]) => v)
  const told = why.filter((v, i) => !why.slice(0, i).some((earlier) => earlier.includes(v)))
  const facts = all.filter(([k, v]) => !reasons.test(k) && v.length < 60).map(([k, v]) => `${k}=${v}`)
  const text = [...told, ...facts].join(' · ').replace(/\s+/g, ' ')
  return text.length > limit ? text.slice(0, limit) + '…' : text
}

const rank = (key: string): number => (/panic$/.test(key) ? 0 : /cause$/.test(key) ? 1 : 2)
