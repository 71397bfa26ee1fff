// Hooks that several pages share.
import { useEffect, useRef, useState } from 'preact/hooks'
import { Failure, type Trouble } from './api'

export interface Loaded<T> {
  data: T | null
  trouble: Trouble | null
  loading: boolean
  reload: () => void
}

// useLoad reads something now, whenever a dependency changes, and each `every`
// milliseconds. While it reads again the old data stays; a change of `what`
// (another service, another trace) drops it.
export function useLoad<T>(what: string, read: (signal: AbortSignal) => Promise<T>, deps: readonly unknown[] = [], every = 0): Loaded<T> {
  const [state, set] = useState<{ what: string; data: T | null; trouble: Trouble | null; loading: boolean }>({ what, data: null, trouble: null, loading: true })
  const [turn, again] = useState(0)
  const latest = useRef(read)
  latest.current = read
  useEffect(() => {
    const stop = new AbortController()
    set((s) => ({ what, data: s.what === what ? s.data : null, trouble: s.what === what ? s.trouble : null, loading: true }))
    latest.current(stop.signal).then(
      (data) => !stop.signal.aborted && set({ what, data, trouble: null, loading: false }),
      (err: unknown) => {
        if (stop.signal.aborted) return
        const trouble: Trouble = err instanceof Failure ? err.trouble : { kind: 'garbled' }
        set((s) => ({ what, data: s.what === what ? s.data : null, trouble, loading: false }))
      },
    )
    return () => stop.abort()
  }, [what, turn, ...deps])
  useEffect(() => {
    if (every <= 0) return
    const t = setInterval(() => !document.hidden && again((n) => n + 1), every)
    return () => clearInterval(t)
  }, [every])
  const fits = state.what === what
  return { data: fits ? state.data : null, trouble: fits ? state.trouble : null, loading: state.loading || !fits, reload: () => again((n) => n + 1) }
}

// useNow ticks, for times that read "12 s ago".
export function useNow(every = 1000): number {
  const [now, set] = useState(Date.now())
  useEffect(() => {
    const t = setInterval(() => set(Date.now()), every)
    return () => clearInterval(t)
  }, [every])
  return now
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title === '' ? 'Surefoot' : `${title} · Surefoot`
  }, [title])
}
