// The last minutes of each service for the sparklines: read once from the
// series, then continued from the live stream, so that the overview does not
// ask three queries a second.
import { api } from './api'
import { live } from './live'
import { ofAll } from './promql'
import { createStore } from './store'
import type { Node, Series } from './types'

export const slot = 15_000 // ms per point
export const slots = 60 // 15 minutes

export interface Lane {
  rate: number[]
  errors: number[]
  p99: number[]
}

export interface History {
  last: number // number of the newest slot since 1970
  lanes: ReadonlyMap<string, Lane>
}

const fields = ['rate', 'errors', 'p99'] as const
const empty = (): Lane => ({ rate: [], errors: [], p99: [] })

// advance adds what is true now. Within one slot the newest value counts; a
// slot without news repeats the one before it, up to the length of a lane.
export function advance(h: History, nodes: readonly Node[], now: number): History {
  const at = Math.floor(now / slot)
  const gap = h.last === 0 ? 1 : Math.max(0, Math.min(slots, at - h.last))
  const lanes = new Map<string, Lane>()
  for (const n of nodes) {
    const old = h.lanes.get(n.name) ?? empty()
    const lane = empty()
    const value = { rate: n.rate, errors: n.errorShare, p99: n.p99Ms }
    for (const f of fields) {
      const line = old[f].slice(gap === 0 ? 0 : Math.max(0, old[f].length + gap - slots))
      if (gap === 0 && line.length > 0) line[line.length - 1] = value[f]
      else for (let i = Math.max(gap, 1); i > 0; i--) line.push(i === 1 ? value[f] : (line[line.length - 1] ?? value[f]))
      lane[f] = line
    }
    lanes.set(n.name, lane)
  }
  return { last: at, lanes }
}

// backfill puts what the series know before what was seen live.
export function backfill(h: History, field: keyof Lane, series: readonly Series[]): History {
  const lanes = new Map(h.lanes)
  for (const s of series) {
    const name = s.labels['service_name'] ?? ''
    if (name === '') continue
    const lane = lanes.get(name) ?? empty()
    const seen = lane[field]
    const points = s.points.filter(([t]) => Math.floor((t * 1000) / slot) <= h.last - seen.length).map(([, v]) => v)
    lanes.set(name, { ...lane, [field]: [...points, ...seen].slice(-slots) })
  }
  return { ...h, lanes }
}

export const past = createStore<History>({ last: 0, lanes: new Map() })

// start follows the live data and reads the past once.
export function start(): () => void {
  let asked = false
  const follow = (): void => {
    const { overview, link } = live.get()
    if (overview === null || link !== 'live') return
    past.set(advance(past.get(), overview.services, Date.now()))
    if (asked || overview.services.length === 0) return
    asked = true
    const end = Math.floor(Date.now() / slot) * (slot / 1000)
    const q = ofAll(30)
    for (const f of fields) {
      api.range(q[f], end - (slots * slot) / 1000, end, slot / 1000).then(
        (series) => past.set(backfill(past.get(), f, series)),
        () => undefined, // the sparkline then grows from now on
      )
    }
  }
  return live.subscribe(follow)
}
