// Pages by path, with the history API; the server answers every page's path
// with index.html, so each address can be shared and reloaded.
import { createStore } from './store'

export type Page =
  | { name: 'overview' }
  | { name: 'topology' }
  | { name: 'service'; service: string }
  | { name: 'traces'; query: URLSearchParams }
  | { name: 'trace'; id: string; span: string }
  | { name: 'incidents' }
  | { name: 'incident'; id: string }
  | { name: 'nowhere'; path: string }

const decode = (s: string): string => {
  try {
    return decodeURIComponent(s)
  } catch {
    return s
  }
}

// match reads a path and a query into a page.
export function match(path: string, search: string): Page {
  const parts = path.split('/').filter((p) => p !== '')
  const query = new URLSearchParams(search)
  const [first = '', ...rest] = parts
  const below = rest.map(decode).join('/')
  switch (first) {
    case '':
    case 'index.html':
      return { name: 'overview' }
    case 'topology':
      return below === '' ? { name: 'topology' } : { name: 'nowhere', path }
    case 'services':
      return below === '' ? { name: 'overview' } : { name: 'service', service: below }
    case 'traces':
      return below === '' ? { name: 'traces', query } : { name: 'trace', id: below, span: query.get('span') ?? '' }
    case 'incidents':
      return below === '' ? { name: 'incidents' } : { name: 'incident', id: below }
    default:
      return { name: 'nowhere', path }
  }
}

export const href = {
  overview: (): string => '/',
  topology: (): string => '/topology',
  service: (name: string): string => '/services/' + encodeURIComponent(name),
  traces: (q: Record<string, string> = {}): string => {
    const query = new URLSearchParams(Object.entries(q).filter(([, v]) => v !== '')).toString()
    return '/traces' + (query === '' ? '' : '?' + query)
  },
  trace: (id: string, span = ''): string => '/traces/' + encodeURIComponent(id) + (span === '' ? '' : '?span=' + encodeURIComponent(span)),
  incidents: (): string => '/incidents',
  incident: (id: string): string => '/incidents/' + encodeURIComponent(id),
}

const here = (): Page => match(location.pathname, location.search)

export const page = createStore<Page>(typeof location === 'undefined' ? { name: 'overview' } : here())

export function go(to: string, replace = false): void {
  if (replace) history.replaceState(null, '', to)
  else history.pushState(null, '', to)
  page.set(here())
}

// start makes plain links navigate without a reload, and back and forward work.
export function start(): void {
  addEventListener('popstate', () => page.set(here()))
  document.addEventListener('click', (e) => {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return
    const a = (e.target as Element | null)?.closest('a')
    const to = a?.getAttribute('href')
    if (!a || !to || !to.startsWith('/') || to.startsWith('//') || to.startsWith('/api/') || a.hasAttribute('download') || a.getAttribute('target')) return
    e.preventDefault()
    go(to)
  })
}
