// The one way to the control plane: GET and POST of /api/v1, with errors that
// a person can read.
import * as shape from './normalize'
import type { Config, Incident, LogRecord, Overview, Registered, Report, Series, Service, Topology, Trace, TraceSummary, Vitals } from './types'

export type Trouble =
  | { kind: 'unreachable' } // no answer at all
  | { kind: 'notFound' }
  | { kind: 'refused'; status: number; id: string; message: string; details: string[]; traceId: string }
  | { kind: 'garbled' } // an answer that is not what it should be

export class Failure extends Error {
  constructor(readonly trouble: Trouble) {
    super(trouble.kind)
  }
}

const base = '/api/v1'
const patience = 20_000 // ms; longer than any query should take, shorter than a person's patience

async function call(path: string, init: RequestInit, signal?: AbortSignal): Promise<Response> {
  const limit = AbortSignal.timeout(patience)
  let res: Response
  try {
    res = await fetch(base + path, { ...init, signal: signal ? AbortSignal.any([signal, limit]) : limit })
  } catch (err) {
    if (signal?.aborted) throw err
    throw new Failure({ kind: 'unreachable' })
  }
  if (res.ok) return res
  const text = await res.text().catch(() => '')
  let o: Record<string, unknown> = {}
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null) o = parsed as Record<string, unknown>
  } catch {
    // not the error shape: a proxy in between, perhaps
  }
  if (res.status === 404) throw new Failure({ kind: 'notFound' })
  const message = typeof o['message'] === 'string' ? o['message'] : typeof o['error'] === 'string' ? o['error'] : ''
  throw new Failure({
    kind: 'refused',
    status: res.status,
    id: typeof o['error'] === 'string' ? o['error'] : '',
    message,
    details: Array.isArray(o['details']) ? o['details'].filter((d): d is string => typeof d === 'string') : [],
    traceId: typeof o['traceId'] === 'string' ? o['traceId'] : '',
  })
}

async function get(path: string, signal?: AbortSignal): Promise<unknown> {
  const res = await call(path, { headers: { Accept: 'application/json' } }, signal)
  try {
    return await res.json()
  } catch (err) {
    if (signal?.aborted) throw err
    throw new Failure({ kind: 'garbled' })
  }
}

const query = (q: Record<string, string | number | undefined>): string => {
  const p = new URLSearchParams()
  for (const [k, v] of Object.entries(q)) if (v !== undefined && v !== '') p.set(k, String(v))
  const s = p.toString()
  return s === '' ? '' : '?' + s
}

const id = encodeURIComponent

export const api = {
  overview: async (s?: AbortSignal): Promise<Overview> => shape.overview(await get('/overview', s)),
  topology: async (s?: AbortSignal): Promise<Topology> => shape.topology(await get('/topology', s)),
  service: async (name: string, s?: AbortSignal): Promise<Service> => shape.service(await get('/services/' + id(name), s)),
  vitals: async (name: string, s?: AbortSignal): Promise<Vitals> => shape.vitals(await get(`/services/${id(name)}/vitals`, s)),
  config: async (name: string, s?: AbortSignal): Promise<Config> => shape.config(await get(`/services/${id(name)}/config`, s)),
  instances: async (service: string, s?: AbortSignal): Promise<Registered[]> => shape.instances(await get('/instances' + query({ service }), s)),
  traces: async (q: Record<string, string | number | undefined>, s?: AbortSignal): Promise<TraceSummary[]> => shape.traces(await get('/traces' + query(q), s)),
  trace: async (trace: string, s?: AbortSignal): Promise<Trace> => shape.trace(await get('/traces/' + id(trace), s)),
  logs: async (q: Record<string, string | number | undefined>, s?: AbortSignal): Promise<LogRecord[]> => shape.logs(await get('/logs' + query(q), s)),
  incidents: async (s?: AbortSignal): Promise<Incident[]> => {
    const v = (await get('/incidents', s)) as { incidents?: unknown } | null
    return Array.isArray(v?.incidents) ? v.incidents.map(shape.incident) : []
  },
  incident: async (incident: string, s?: AbortSignal): Promise<Incident> => shape.incident(await get('/incidents/' + id(incident), s)),
  report: async (incident: string, lang: string, s?: AbortSignal): Promise<Report> =>
    shape.report(await get('/incidents/' + id(incident) + '/report' + query({ lang, format: 'json' }), s)),
  reportFile: (incident: string, lang: string): string => `${base}/incidents/${id(incident)}/report${query({ lang })}`,
  topologyFile: (format: 'mermaid' | 'dot'): string => `${base}/topology${query({ format })}`,
  range: async (promql: string, start: number, end: number, step: number, s?: AbortSignal): Promise<Series[]> =>
    shape.series(await get('/query_range' + query({ query: promql, start, end, step }), s)),
  clear: async (service: string, by: string, note: string): Promise<void> => {
    await call(`/routes/${id(service)}/clear`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
      body: JSON.stringify({ by, note }),
    })
  },
  events: base + '/events',
}
