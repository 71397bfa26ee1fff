// A value that can be watched. Small on purpose: everything shared between
// pages (live data, language, theme, route) is one of these.
import { useEffect, useState } from 'preact/hooks'

export interface Store<T> {
  get(): T
  set(next: T): void
  subscribe(fn: () => void): () => void
}

export function createStore<T>(initial: T): Store<T> {
  let value = initial
  const watchers = new Set<() => void>()
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return
      value = next
      for (const fn of [...watchers]) fn()
    },
    subscribe(fn) {
      watchers.add(fn)
      return () => void watchers.delete(fn)
    },
  }
}

export function useStore<T>(store: Store<T>): T {
  const [value, show] = useState(store.get())
  useEffect(() => {
    show(store.get()) // it may have changed between render and effect
    return store.subscribe(() => show(store.get()))
  }, [store])
  return value
}

// recall and remember keep small settings; blocked storage only means that
// nothing is remembered.
export function recall(key: string): string | null {
  try {
    return localStorage.getItem('surefoot.' + key)
  } catch {
    return null
  }
}

export function remember(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem('surefoot.' + key)
    else localStorage.setItem('surefoot.' + key, value)
  } catch {
    // not remembered
  }
}
