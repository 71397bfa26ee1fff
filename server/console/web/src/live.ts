// What the whole console knows right now, kept fresh by the event stream. A cut
// stream is never silent: `since` says from when on everything shown is old.
import { api } from './api'
import * as shape from './normalize'
import { createStore } from './store'
import type { Incident, Overview, Route, Topology } from './types'

export interface Live {
  overview: Overview | null
  topology: Topology | null
  link: 'starting' | 'live' | 'stale'
  since: number // when the data last was fresh, ms; only meaningful when stale
  bump: number // grows with each incident or route event, so that pages read again
  found: number // likewise with each finding that opens, grows or closes
}

export const live = createStore<Live>({ overview: null, topology: null, link: 'starting', since: 0, bump: 0, found: 0 })

// The server speaks each second. Three missed beats and a bit is a cut, not a
// slow second.
export const silence = 4_000
const firstWait = 500
const longestWait = 8_000
// A browser allows six connections to one host. A tab in the background gives
// its stream back after this long, or the seventh tab could load nothing.
const hiddenLimit = 20_000

// wait before the n-th try to connect again: doubling, with jitter so that a
// hundred consoles do not return in the same moment after a restart.
export function backoff(n: number, random: number): number {
  return Math.min(longestWait, firstWait * 2 ** Math.min(n, 10)) * (0.5 + random / 2)
}

function merge(patch: Partial<Live>): void {
  live.set({ ...live.get(), ...patch })
}

// withIncident replaces or adds one incident, open ones first, newest first.
export function withIncident(all: Incident[], one: Incident): Incident[] {
  const rest = all.filter((i) => i.id !== one.id)
  return [one, ...rest].sort((a, b) => (a.state === b.state ? (a.openedAt < b.openedAt ? 1 : a.openedAt > b.openedAt ? -1 : 0) : a.state === 'open' ? -1 : 1))
}

function withRoute(all: Route[], one: Route): Route[] {
  return [...all.filter((r) => r.service !== one.service), one].sort((a, b) => (a.service < b.service ? -1 : 1))
}

// take folds one event into the state.
export function take(state: Live, event: string, data: unknown): Live {
  switch (event) {
    case 'overview':
      return { ...state, overview: shape.overview(data) }
    case 'topology':
      return { ...state, topology: shape.topology(data) }
    case 'incident': {
      const many = (data as { incidents?: unknown } | null)?.incidents
      const changed = Array.isArray(many) ? many.map(shape.incident) : [shape.incident(data)]
      const o = state.overview
      const overview = o && { ...o, incidents: changed.filter((i) => i.id !== '').reduce(withIncident, o.incidents) }
      return { ...state, overview, bump: state.bump + 1 }
    }
    case 'route': {
      const many = (data as { routes?: unknown } | null)?.routes
      const changed = Array.isArray(many) ? many.map(shape.route) : [shape.route(data)]
      const o = state.overview
      const overview = o && { ...o, routes: changed.filter((r) => r.service !== '').reduce(withRoute, o.routes) }
      return { ...state, overview, bump: state.bump + 1 }
    }
    case 'finding': // it names one; the page that shows them reads all of them
      return { ...state, found: state.found + 1 }
    default:
      return state
  }
}

// start connects and never gives up; the returned function ends it.
export function start(): () => void {
  let source: EventSource | null = null
  let again: ReturnType<typeof setTimeout> | undefined
  let hide: ReturnType<typeof setTimeout> | undefined
  let tries = 0
  let heard = Date.now()
  let parked = false
  const opened = Date.now()

  const cut = (): void => {
    const now = live.get()
    if (now.link !== 'stale') merge({ link: 'stale', since: now.link === 'live' ? heard : opened })
  }
  const close = (): void => {
    source?.close()
    source = null
    clearTimeout(again)
  }
  const retry = (): void => {
    close()
    if (!parked) again = setTimeout(connect, backoff(tries++, Math.random()))
  }
  const connect = (): void => {
    close()
    const s = new EventSource(api.events)
    source = s
    let last = Date.now()
    const fresh = (event: string) => (e: MessageEvent<string>) => {
      last = heard = Date.now()
      let data: unknown
      try {
        data = JSON.parse(e.data)
      } catch {
        return // one garbled event is not worth the page
      }
      tries = 0
      live.set({ ...take(live.get(), event, data), link: 'live' })
    }
    for (const name of ['overview', 'topology', 'incident', 'route', 'finding']) s.addEventListener(name, fresh(name))
    s.onerror = () => {
      if (source === s) retry()
    }
    // A stream that is open but silent (a dead proxy) has no error event.
    const watch = setInterval(() => {
      if (source !== s) return clearInterval(watch)
      if (Date.now() - last > 3 * silence) {
        clearInterval(watch)
        retry()
      }
    }, silence)
  }

  const pulse = setInterval(() => {
    if (!parked && Date.now() - heard > silence) cut()
  }, 500)
  const visible = (): void => {
    clearTimeout(hide)
    if (document.hidden) {
      hide = setTimeout(() => {
        parked = true
        close()
      }, hiddenLimit)
    } else if (parked) {
      parked = false
      heard = Date.now() // time asleep is not an outage
      tries = 0
      connect()
    }
  }
  document.addEventListener('visibilitychange', visible)
  addEventListener('online', connect)
  // Paint as soon as possible; the stream confirms within a second.
  api.overview().then((overview) => live.get().overview === null && merge({ overview })).catch(() => undefined)
  connect()

  return () => {
    parked = true
    close()
    clearInterval(pulse)
    clearTimeout(hide)
    document.removeEventListener('visibilitychange', visible)
    removeEventListener('online', connect)
  }
}
