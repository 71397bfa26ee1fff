// The shapes of /api/v1, as the console uses them after normalize.ts has filled
// every gap: no field here is ever undefined.

export type State = 'ok' | 'warn' | 'bad' | 'idle'
export type NodeKind = 'service' | 'external' | 'database'

export interface Stats {
  rate: number // requests per second
  errorShare: number // 0..1
  p50Ms: number
  p99Ms: number
}

export interface Version extends Stats {
  version: string
}

export interface Node extends Stats {
  name: string
  kind: NodeKind
  state: State
  owner: string
  versions: Version[]
  findings: number // open ones, of all of its processes
}

export interface Edge extends Stats {
  from: string
  to: string
  protocol: string
  strong: boolean
  external: boolean
  state: State
}

export interface Topology {
  at: string
  nodes: Node[]
  edges: Edge[]
}

export interface Symptom {
  target: string
  metric: string
  value: number
  baseline: number
  since: string
  at: string
  unit: string // of value and baseline; '' where the metric says it
  finding: SymptomFinding | null
}

// What a finding says of itself, where it is the symptom of an incident.
export interface SymptomFinding {
  version: string
  text: string
  textZh: string
  traceId: string
}

export interface TimelineEntry {
  at: string
  text: string
  textZh: string
}

export interface Incident {
  id: string
  state: 'open' | 'resolved'
  title: string
  titleZh: string
  severity: string
  openedAt: string
  resolvedAt: string
  origin: string
  originKind: string
  symptoms: Symptom[]
  services: string[]
  owner: string
  timeline: TimelineEntry[]
  hasReport: boolean
}

export interface Candidate {
  name: string
  version: string // '' where it is all of them
  kind: string
  score: number
  why: string
  whyZh: string
}

export interface Evidence {
  text: string
  textZh: string
  traceId: string
  at: string
}

export interface Report {
  incident: string
  at: string
  origin: Candidate | null
  candidates: Candidate[]
  evidence: Evidence[]
  impact: { service: string; errorShare: number; requests: number }[]
  owner: string
  runbook: { title: string; body: string } | null
  markdown: string
}

export interface Review {
  version: string
  reason: string
  since: string
  pending: boolean
}

export interface Route {
  service: string
  stable: string
  canary: string
  match: Record<string, string>
  weight: number // 0..100
  revision: number
  rule: { maxErrorShare: number; forSeconds: number } | null
  review: Review | null
}

export interface Ingest {
  spansPerSecond: number
  spans: number
  logs: number
  points: number
  refused: number
  droppedBatches: number
}

export interface Overview {
  at: string
  ready: boolean
  version: string
  services: Node[]
  incidents: Incident[]
  ingest: Ingest
  routes: Route[]
}

export interface Operation extends Stats {
  name: string
  kind: string
}

export interface Link {
  url: string
  title: string
}

export interface Catalog {
  owner: string
  description: string
  lifecycle: string
  links: Link[]
  dependsOn: string[]
}

export interface Breaker {
  target: string
  state: 'closed' | 'half-open' | 'open'
  instance: string
}

export interface Service extends Node {
  operations: Operation[]
  callers: Edge[]
  callees: Edge[]
  catalog: Catalog | null
  runbook: string
  breakers: Breaker[]
}

export interface TraceSummary {
  traceId: string
  service: string
  name: string
  start: string
  durationMs: number
  spans: number
  errors: number
  services: string[]
}

export interface SpanEvent {
  name: string
  at: string
  attributes: Record<string, string>
}

export interface Span {
  spanId: string
  parentId: string
  service: string
  version: string
  instance: string
  name: string
  kind: string
  start: string
  offsetMs: number
  durationMs: number
  error: boolean
  message: string
  attributes: Record<string, string>
  events: SpanEvent[]
}

export interface Hop {
  service: string
  op: string
  error: string
  at: string
  elapsedMs: number
}

export interface Trace {
  traceId: string
  spans: Span[]
  chain: Hop[]
}

export interface LogRecord {
  at: string
  service: string
  version: string
  severity: string
  body: string
  traceId: string
  spanId: string
  attributes: Record<string, string>
}

export interface Series {
  labels: Record<string, string>
  points: [time: number, value: number][]
}

// Finding is what one process of a service says of its own health.
export interface Finding {
  id: string
  kind: string // goroutines, heap, descriptors, ... or another word
  state: 'open' | 'closed'
  version: string
  instance: string
  since: string
  at: string
  closedAt: string
  expired: boolean // closed because nothing was heard of it any more
  value: number
  before: number
  perMinute: number
  limit: number // 0 means unknown
  unit: string
  count: number
  created: string
  creator: string
  blocked: string
  wait: string
  waitSeconds: number
  method: string
  text: string
  textZh: string
  traceId: string
}

export interface Lock {
  name: string
  kind: string // lock or site
  waitPerSecond: number // s of waiting in each second
  waitsPerSecond: number
  waits: number
}

export interface Vitals {
  at: string
  windowSeconds: number // what the locks are counted over
  incomplete: boolean // the locks cannot be read now
  findings: Finding[]
  locks: Lock[]
  instances: { instance: string; version: string; findings: number }[]
}

export interface Change {
  path: string
  before: string // '' when it was not there
  after: string
}

export interface Setting {
  key: string
  value: string // JSON; never holds a secret
  revision: number
  by: string
  why: string
  at: string
}

// What one process runs of one key.
export interface Runs {
  instance: string
  version: string
  key: string
  revision: number // 0: nothing of the centre's
  refused: number // 0: nothing
}

export interface Push {
  id: string
  key: string
  stage: string // check, one, share or all
  share: number // percent
  instances: string[]
  since: string
  by: string
  why: string
  diff: Change[]
  state: 'running' | 'committed' | 'rolled_back' | 'aborted'
  reason: string
  reasonZh: string
}

export interface Config {
  keys: Setting[]
  applied: Runs[]
  pushes: Push[]
}

export interface Registered {
  id: string
  addr: string
  version: string
  zone: string
  weight: number
}
