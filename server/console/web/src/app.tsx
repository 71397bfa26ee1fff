// The frame around every page: where you are, whether what you see is fresh.
import { useEffect, useRef } from 'preact/hooks'
import { clock, span } from './format'
import { chooseLang, lang, useT, type Lang } from './i18n'
import { live } from './live'
import { Fence, StateIcon } from './parts/basic'
import { lazy } from './parts/lazy'
import { Incident } from './pages/incident'
import { Incidents } from './pages/incidents'
import { Overview } from './pages/overview'
import { Service } from './pages/service'
import { Trace } from './pages/trace'
import { Traces } from './pages/traces'
import { href, page, type Page } from './router'
import { useStore } from './store'
import { chooseTheme, theme, type Theme } from './theme'
import { useNow, useTitle } from './use'

const Topology = lazy(() => import('./pages/topology'))

export function App() {
  const t = useT()
  const now = useStore(page)
  const main = useRef<HTMLElement>(null)
  const first = useRef(true)
  const where = JSON.stringify({ ...now, query: undefined, span: undefined })
  useEffect(() => {
    if (first.current) {
      first.current = false
      return
    }
    scrollTo(0, 0)
    main.current?.focus({ preventScroll: true }) // so that a screen reader reads the new page
  }, [where])
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => {
        e.preventDefault()
        main.current?.focus()
      }}>{t.skip}</a>
      <Header now={now} />
      <Stale />
      <main id="main" ref={main} tabIndex={-1} class={now.name === 'topology' ? 'tall' : ''}>
        <Fence key={where} note={t.trouble.broken}><Show now={now} /></Fence>
      </main>
    </>
  )
}

function Show({ now }: { now: Page }) {
  switch (now.name) {
    case 'overview': return <Overview />
    case 'topology': return <Topology />
    case 'service': return <Service key={now.service} name={now.service} />
    case 'traces': return <Traces query={now.query} />
    case 'trace': return <Trace id={now.id} span={now.span} />
    case 'incidents': return <Incidents />
    case 'incident': return <Incident key={now.id} id={now.id} />
    case 'nowhere': return <Nowhere />
  }
}

function Nowhere() {
  const t = useT()
  useTitle(t.nowhere.title)
  return <><h1>{t.nowhere.title}</h1><p>{t.nowhere.text}</p><p><a href={href.overview()}>{t.nowhere.back}</a></p></>
}

function Header({ now }: { now: Page }) {
  const t = useT()
  const { overview } = useStore(live)
  const open = overview?.incidents.filter((i) => i.state === 'open').length ?? 0
  const items = [
    ['overview', href.overview(), t.nav.overview, now.name === 'overview' || now.name === 'service'],
    ['topology', href.topology(), t.nav.topology, now.name === 'topology'],
    ['traces', href.traces(), t.nav.traces, now.name === 'traces' || now.name === 'trace'],
    ['incidents', href.incidents(), t.nav.incidents, now.name === 'incidents' || now.name === 'incident'],
  ] as const
  return (
    <header class="top">
      <a class="brand" href={href.overview()}><img src="/favicon.svg" alt="" width="22" height="22" /> Surefoot</a>
      <nav aria-label={t.nav.label}>
        {items.map(([key, to, label, current]) => (
          <a key={key} href={to} aria-current={current ? 'page' : undefined}>
            {label}{key === 'incidents' && open > 0 && <span class="count">{open}<span class="hide"> {t.incidents.open}</span></span>}
          </a>
        ))}
      </nav>
      <span class="grow" />
      <LiveLight />
      <Switches />
    </header>
  )
}

function LiveLight() {
  const t = useT()
  const { link, since, overview } = useStore(live)
  const now = useNow()
  if (link === 'stale') return <span class="light light-stale"><StateIcon state="warn" /> {t.link.stale(clock(new Date(since).toISOString(), now))}</span>
  if (link === 'starting') return <span class="light"><StateIcon state="idle" /> {t.link.starting}</span>
  return <span class="light light-live" title={overview?.version}><span class="dot" aria-hidden="true" /> {t.link.live} <span class="muted clock">{overview ? clock(overview.at, now) : ''}</span></span>
}

function Stale() {
  const t = useT()
  const { link, since, overview, topology } = useStore(live)
  const now = useNow()
  const text = overview === null && topology === null ? t.link.never : t.link.staleLong(clock(new Date(since).toISOString(), now), span(now - since, t.units))
  return (
    <div role="status" class={link === 'stale' ? 'stale-bar' : 'hide'}>
      {link === 'stale' && <><StateIcon state="warn" size={16} /> <span>{text}</span></>}
    </div>
  )
}

const languages: [Lang, string, string][] = [['en', 'EN', 'English'], ['zh', '中文', '中文']]
const themes: Theme[] = ['system', 'light', 'dark']

function Switches() {
  const t = useT()
  const language = useStore(lang)
  const look = useStore(theme)
  return (
    <span class="switches">
      <span class="segments" role="group" aria-label={t.switches.language}>
        {languages.map(([code, short, full]) => (
          <button key={code} type="button" lang={code === 'zh' ? 'zh-CN' : 'en'} title={full} data-lang={code} aria-pressed={language === code} onClick={() => chooseLang(code)}>{short}</button>
        ))}
      </span>
      <span class="segments" role="group" aria-label={t.switches.theme}>
        {themes.map((name) => (
          <button key={name} type="button" title={t.switches[name]} aria-label={t.switches[name]} data-theme-choice={name} aria-pressed={look === name} onClick={() => chooseTheme(name)}>
            <svg viewBox="0 0 16 16" width="14" height="14" class="glyph" aria-hidden="true">{glyphs[name]}</svg>
          </button>
        ))}
      </span>
    </span>
  )
}

const glyphs = {
  system: <path d="M1.5 2.5h13v8.5h-13zM5 14h6M8 11v3" />,
  light: <path d="M8 5a3 3 0 1 0 0 6a3 3 0 0 0 0-6zM8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.2 1.2M11.8 11.8L13 13M13 3l-1.2 1.2M4.2 11.8L3 13" />,
  dark: <path d="M13.5 9.8A6 6 0 0 1 6.2 2.5a6 6 0 1 0 7.3 7.3z" />,
}
