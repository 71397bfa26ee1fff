// Turns whatever JSON arrived into the shapes of types.ts. A missing list is an
// empty list, a missing number is 0, a wrong type is as good as missing: a page
// must never break because one field did.
import type {
  Breaker, Candidate, Catalog, Change, Config, Edge, Finding, Hop, Incident, Ingest, Link, Lock, LogRecord, Node,
  NodeKind, Operation, Overview, Push, Registered, Report, Review, Route, Series, Service, Span, State, Stats, Symptom,
  Topology, Trace, TraceSummary, Version, Vitals,
} from './types'

type Obj = Record<string, unknown>

const obj = (v: unknown): Obj => (typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Obj) : {})
const isObj = (v: unknown): boolean => typeof v === 'object' && v !== null && !Array.isArray(v)
const str = (v: unknown): string => (typeof v === 'string' ? v : typeof v === 'number' || typeof v === 'boolean' ? String(v) : '')
const num = (v: unknown): number => {
  const n = typeof v === 'string' && v !== '' ? Number(v) : v
  return typeof n === 'number' && Number.isFinite(n) ? n : 0
}
const bool = (v: unknown): boolean => v === true
const list = <T>(v: unknown, each: (v: unknown) => T): T[] => (Array.isArray(v) ? v.map(each) : [])
const strings = (v: unknown): string[] => list(v, str).filter((s) => s !== '')
const dict = (v: unknown): Record<string, string> =>
  Object.fromEntries(Object.entries(obj(v)).map(([k, x]) => [k, isObj(x) || Array.isArray(x) ? JSON.stringify(x) : str(x)]))
const oneOf = <T extends string>(v: unknown, all: readonly T[], otherwise: T): T =>
  all.includes(v as T) ? (v as T) : otherwise

const states: readonly State[] = ['ok', 'warn', 'bad', 'idle']
const kinds: readonly NodeKind[] = ['service', 'external', 'database']

const stats = (o: Obj): Stats => ({ rate: num(o['rate']), errorShare: num(o['errorShare']), p50Ms: num(o['p50Ms']), p99Ms: num(o['p99Ms']) })

const version = (v: unknown): Version => ({ version: str(obj(v)['version']), ...stats(obj(v)) })

export function node(v: unknown): Node {
  const o = obj(v)
  return {
    name: str(o['name']),
    kind: oneOf(o['kind'], kinds, 'service'),
    state: oneOf(o['state'], states, 'idle'),
    owner: str(o['owner']),
    versions: list(o['versions'], version),
    findings: Math.max(0, num(o['findings'])),
    ...stats(o),
  }
}

export function edge(v: unknown): Edge {
  const o = obj(v)
  return {
    from: str(o['from']),
    to: str(o['to']),
    protocol: str(o['protocol']),
    strong: bool(o['strong']),
    external: bool(o['external']),
    state: oneOf(o['state'], states, 'idle'),
    ...stats(o),
  }
}

export const topology = (v: unknown): Topology => ({ at: str(obj(v)['at']), nodes: list(obj(v)['nodes'], node), edges: list(obj(v)['edges'], edge) })

const symptom = (v: unknown): Symptom => {
  const o = obj(v)
  const f = obj(o['finding'])
  return {
    target: str(o['target']), metric: str(o['metric']), value: num(o['value']), baseline: num(o['baseline']), since: str(o['since']), at: str(o['at']),
    unit: str(o['unit']) || str(f['unit']),
    finding: str(f['text']) === '' ? null : { version: str(f['version']), text: str(f['text']), textZh: str(f['textZh']) || str(f['text']), traceId: str(f['traceId']) },
  }
}

export function incident(v: unknown): Incident {
  const o = obj(v)
  return {
    id: str(o['id']),
    state: oneOf(o['state'], ['open', 'resolved'] as const, 'open'),
    title: str(o['title']),
    titleZh: str(o['titleZh']) || str(o['title']),
    severity: str(o['severity']),
    openedAt: str(o['openedAt']),
    resolvedAt: str(o['resolvedAt']),
    origin: str(o['origin']),
    originKind: str(o['originKind']),
    symptoms: list(o['symptoms'], symptom),
    services: strings(o['services']),
    owner: str(o['owner']),
    timeline: list(o['timeline'], (t) => ({ at: str(obj(t)['at']), text: str(obj(t)['text']), textZh: str(obj(t)['textZh']) || str(obj(t)['text']) })),
    hasReport: bool(o['hasReport']),
  }
}

const candidate = (v: unknown): Candidate => {
  const o = obj(v)
  return { name: str(o['name']), version: str(o['version']), kind: str(o['kind']), score: num(o['score']), why: str(o['why']), whyZh: str(o['whyZh']) || str(o['why']) }
}

export function report(v: unknown): Report {
  const o = obj(v)
  const runbook = obj(o['runbook'])
  return {
    incident: str(o['incident']) || str(obj(o['incident'])['id']),
    at: str(o['at']),
    origin: str(obj(o['origin'])['name']) ? candidate(o['origin']) : null,
    candidates: list(o['candidates'], candidate),
    evidence: list(o['evidence'], (e) => ({
      text: str(obj(e)['text']),
      textZh: str(obj(e)['textZh']) || str(obj(e)['text']),
      traceId: str(obj(e)['traceId']),
      at: str(obj(e)['at']),
    })),
    impact: list(o['impact'], (i) => ({ service: str(obj(i)['service']), errorShare: num(obj(i)['errorShare']), requests: num(obj(i)['requests']) })),
    owner: str(o['owner']),
    runbook: str(runbook['body']) ? { title: str(runbook['title']), body: str(runbook['body']) } : null,
    markdown: str(o['markdown']),
  }
}

const review = (v: unknown): Review | null => {
  const o = obj(v)
  if (!isObj(v) || str(o['version']) === '') return null
  return { version: str(o['version']), reason: str(o['reason']), since: str(o['since']), pending: o['pending'] !== false }
}

export function route(v: unknown): Route {
  const o = obj(v)
  const rule = obj(o['rule'])
  return {
    service: str(o['service']),
    stable: str(o['stable']),
    canary: str(o['canary']),
    match: dict(o['match']),
    weight: num(o['weight']),
    revision: num(o['revision']),
    rule: num(rule['maxErrorShare']) > 0 ? { maxErrorShare: num(rule['maxErrorShare']), forSeconds: num(rule['forSeconds']) } : null,
    review: review(o['review']),
  }
}

const ingest = (v: unknown): Ingest => {
  const o = obj(v)
  return {
    spansPerSecond: num(o['spansPerSecond']), spans: num(o['spans']), logs: num(o['logs']), points: num(o['points']),
    refused: num(o['refused']), droppedBatches: num(o['droppedBatches']),
  }
}

export function overview(v: unknown): Overview {
  const o = obj(v)
  return {
    at: str(o['at']),
    ready: o['ready'] !== false,
    version: str(o['version']),
    services: list(o['services'], node),
    incidents: list(o['incidents'], incident),
    ingest: ingest(o['ingest']),
    routes: list(o['routes'], route),
  }
}

const operation = (v: unknown): Operation => ({ name: str(obj(v)['name']), kind: str(obj(v)['kind']), ...stats(obj(v)) })

const catalog = (v: unknown): Catalog | null => {
  if (!isObj(v)) return null
  const o = obj(v)
  const link = (l: unknown): Link => (typeof l === 'string' ? { url: l, title: l } : { url: str(obj(l)['url']), title: str(obj(l)['title']) || str(obj(l)['url']) })
  return { owner: str(o['owner']), description: str(o['description']), lifecycle: str(o['lifecycle']), links: list(o['links'], link), dependsOn: strings(o['dependsOn']) }
}

const breaker = (v: unknown): Breaker => {
  const o = obj(v)
  return { target: str(o['target']), state: oneOf(o['state'], ['closed', 'half-open', 'open'] as const, 'closed'), instance: str(o['instance']) }
}

export function service(v: unknown): Service {
  const o = obj(v)
  return {
    ...node(v),
    operations: list(o['operations'], operation),
    callers: list(o['callers'], edge),
    callees: list(o['callees'], edge),
    catalog: catalog(o['catalog']),
    runbook: str(o['runbook']),
    breakers: list(o['breakers'], breaker),
  }
}

export function finding(v: unknown): Finding {
  const o = obj(v)
  return {
    id: str(o['id']), kind: str(o['kind']), state: oneOf(o['state'], ['open', 'closed'] as const, 'open'), version: str(o['version']), instance: str(o['instance']),
    since: str(o['since']), at: str(o['at']), closedAt: str(o['closedAt']), expired: bool(o['expired']),
    value: num(o['value']), before: num(o['before']), perMinute: num(o['perMinute']), limit: num(o['limit']), unit: str(o['unit']), count: num(o['count']),
    created: str(o['created']), creator: str(o['creator']), blocked: str(o['blocked']), wait: str(o['wait']), waitSeconds: num(o['waitSeconds']), method: str(o['method']),
    text: str(o['text']), textZh: str(o['textZh']) || str(o['text']), traceId: str(o['traceId']),
  }
}

const lock = (v: unknown): Lock => {
  const o = obj(v)
  return { name: str(o['name']), kind: str(o['kind']), waitPerSecond: num(o['waitPerSecond']), waitsPerSecond: num(o['waitsPerSecond']), waits: num(o['waits']) }
}

export function vitals(v: unknown): Vitals {
  const o = obj(v)
  return {
    at: str(o['at']),
    windowSeconds: num(o['windowSeconds']) || 60,
    incomplete: bool(o['incomplete']),
    findings: list(o['findings'], finding),
    locks: list(o['locks'], lock),
    instances: list(o['instances'], (i) => ({ instance: str(obj(i)['instance']), version: str(obj(i)['version']), findings: num(obj(i)['findings']) })),
  }
}

const change = (v: unknown): Change => ({ path: str(obj(v)['path']), before: str(obj(v)['before']), after: str(obj(v)['after']) })

const push = (v: unknown): Push => {
  const o = obj(v)
  const state = str(o['state'])
  return {
    id: str(o['id']), key: str(o['key']), stage: str(o['stage']), share: num(o['share']), instances: strings(o['instances']), since: str(o['since']),
    by: str(o['by']), why: str(o['why']), diff: list(o['diff'], change), reason: str(o['reason']), reasonZh: str(o['reasonZh']),
    state: state === 'committed' || state === 'rolled_back' || state === 'aborted' ? state : 'running',
  }
}

export function config(v: unknown): Config {
  const o = obj(v)
  return {
    keys: list(o['keys'], (k) => ({
      key: str(obj(k)['key']), value: str(obj(k)['value']), revision: num(obj(k)['revision']), by: str(obj(k)['by']), why: str(obj(k)['why']), at: str(obj(k)['at']),
    })),
    applied: list(o['applied'], (a) => ({
      instance: str(obj(a)['instance']), version: str(obj(a)['version']), key: str(obj(a)['key']), revision: num(obj(a)['revision']), refused: num(obj(a)['refused']),
    })),
    pushes: list(o['pushes'], push),
  }
}

export const instances = (v: unknown): Registered[] =>
  list(obj(v)['instances'], (i) => ({
    id: str(obj(i)['id']), addr: str(obj(i)['addr']), version: str(obj(i)['version']), zone: str(obj(i)['zone']), weight: num(obj(i)['weight']) || 1,
  }))

export const traces = (v: unknown): TraceSummary[] =>
  list(obj(v)['traces'], (t) => {
    const o = obj(t)
    return {
      traceId: str(o['traceId']), service: str(o['service']), name: str(o['name']), start: str(o['start']),
      durationMs: num(o['durationMs']), spans: num(o['spans']), errors: num(o['errors']), services: strings(o['services']),
    }
  })

const span = (v: unknown): Span => {
  const o = obj(v)
  return {
    spanId: str(o['spanId']), parentId: str(o['parentId']), service: str(o['service']), version: str(o['version']), instance: str(o['instance']),
    name: str(o['name']), kind: str(o['kind']), start: str(o['start']), offsetMs: num(o['offsetMs']), durationMs: num(o['durationMs']),
    error: bool(o['error']), message: str(o['message']), attributes: dict(o['attributes']),
    events: list(o['events'], (e) => ({ name: str(obj(e)['name']), at: str(obj(e)['at']), attributes: dict(obj(e)['attributes']) })),
  }
}

const hop = (v: unknown): Hop => {
  const o = obj(v)
  return { service: str(o['service']), op: str(o['op']), error: str(o['error']), at: str(o['at']), elapsedMs: num(o['elapsedMs']) }
}

export const trace = (v: unknown): Trace => ({ traceId: str(obj(v)['traceId']), spans: list(obj(v)['spans'], span), chain: list(obj(v)['chain'], hop) })

export const logs = (v: unknown): LogRecord[] =>
  list(obj(v)['logs'], (l) => {
    const o = obj(l)
    return {
      at: str(o['at']), service: str(o['service']), version: str(o['version']), severity: str(o['severity']), body: str(o['body']),
      traceId: str(o['traceId']), spanId: str(o['spanId']), attributes: dict(o['attributes']),
    }
  })

// series reads a matrix or a vector of Prometheus' HTTP API. NaN and infinities
// are gaps, not zeros, so they are left out.
export function series(v: unknown): Series[] {
  return list(obj(obj(v)['data'])['result'], (r) => {
    const o = obj(r)
    const raw = Array.isArray(o['values']) ? o['values'] : Array.isArray(o['value']) ? [o['value']] : []
    const points: [number, number][] = []
    for (const p of raw) {
      if (!Array.isArray(p)) continue
      const at = Number(p[0])
      const value = Number(p[1])
      if (Number.isFinite(at) && Number.isFinite(value)) points.push([at, value])
    }
    return { labels: dict(o['metric']), points }
  })
}
