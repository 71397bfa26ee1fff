// The small parts every page is made of.
import { Component, type ComponentChildren, type JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { Trouble } from '../api'
import { clock, parse, span } from '../format'
import { useT } from '../i18n'
import { href } from '../router'
import type { NodeKind, State } from '../types'
import { useNow } from '../use'

// Mark shows a state by shape, colour and word: never by colour alone.
const shapes: Record<State, JSX.Element> = {
  ok: <path d="M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13zM4.6 8.2l2.3 2.3l4.5-4.8" />,
  warn: <path d="M8 1.8L15 14H1zM8 6v4M8 11.6v.9" />,
  bad: <path d="M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2zM5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2" />,
  idle: <path d="M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13zM5 8h6" />,
}

export function StateIcon({ state, x, y, size = 14 }: { state: State; x?: number; y?: number; size?: number }) {
  return (
    <svg class={`mark mark-${state}`} viewBox="0 0 16 16" width={size} height={size} x={x} y={y} aria-hidden="true">
      {shapes[state]}
    </svg>
  )
}

export function Mark({ state, quiet = false }: { state: State; quiet?: boolean }) {
  const t = useT()
  return (
    <span class={`state state-${state}`}>
      <StateIcon state={state} />
      <span class={quiet ? 'hide' : ''}>{t.state[state]}</span>
    </span>
  )
}

export function KindTag({ kind }: { kind: NodeKind }) {
  const t = useT()
  return kind === 'service' ? null : <span class="tag tag-kind">{t.kind[kind]}</span>
}

export function Tag({ children, tone = '' }: { children: ComponentChildren; tone?: '' | 'ok' | 'warn' | 'bad' | 'accent' }) {
  return <span class={'tag' + (tone === '' ? '' : ' tag-' + tone)}>{children}</span>
}

export function Card({ title, hint, actions, children, flush = false, id, class: extra = '' }: {
  title?: ComponentChildren
  hint?: ComponentChildren
  actions?: ComponentChildren
  children: ComponentChildren
  flush?: boolean
  id?: string
  class?: string
}) {
  return (
    <section class={`card ${extra}`} aria-labelledby={title !== undefined && id ? id : undefined}>
      {title !== undefined && (
        <header class="card-head">
          <h2 id={id}>{title}</h2>
          {hint !== undefined && <span class="hint">{hint}</span>}
          {actions !== undefined && <span class="actions">{actions}</span>}
        </header>
      )}
      <div class={flush ? 'card-flush' : 'card-body'}>{children}</div>
    </section>
  )
}

export function Loading() {
  const t = useT()
  const [late, show] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => show(true), 250) // no flicker for what is quick
    return () => clearTimeout(timer)
  }, [])
  return <p class="muted pad" role="status">{late ? t.common.loading : '\u00a0'}</p>
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>
}

export function TroubleBox({ trouble, retry }: { trouble: Trouble; retry?: () => void }) {
  const t = useT()
  return (
    <div class="trouble" role="alert">
      <StateIcon state="warn" size={18} />
      <div>
        <strong>{t.trouble.title}</strong>
        <p>
          {trouble.kind === 'refused' ? (trouble.message !== '' ? trouble.message : t.trouble.refused(trouble.status)) : t.trouble[trouble.kind]}
        </p>
        {trouble.kind === 'refused' && trouble.details.length > 0 && (
          <ul>{trouble.details.map((d) => <li key={d}>{d}</li>)}</ul>
        )}
        {trouble.kind === 'refused' && trouble.traceId !== '' && (
          <p class="small">{t.trouble.trace} <code>{trouble.traceId}</code></p>
        )}
        {retry && trouble.kind !== 'notFound' && <button type="button" onClick={retry}>{t.common.retry}</button>}
      </div>
    </div>
  )
}

// Time shows a time of day; the exact UTC time is in its tooltip.
export function Time({ at, millis = false }: { at: string; millis?: boolean }) {
  const d = parse(at)
  if (d === null) return <span class="muted">–</span>
  return <time dateTime={d.toISOString()} title={d.toISOString()}>{clock(at, Date.now(), millis)}</time>
}

export function Ago({ at }: { at: string }) {
  const t = useT()
  const now = useNow()
  const d = parse(at)
  if (d === null) return <span class="muted">–</span>
  return <time dateTime={d.toISOString()} title={d.toISOString()}>{t.ago(span(now - d.getTime(), t.units))}</time>
}

export function Lasting({ from, to }: { from: string; to: string }) {
  const t = useT()
  const now = useNow()
  const a = parse(from)
  const b = parse(to)
  if (a === null) return null
  return <span>{b ? t.lasted(span(b.getTime() - a.getTime(), t.units)) : t.forSpan(span(now - a.getTime(), t.units))}</span>
}

export function Copy({ text }: { text: string }) {
  const t = useT()
  const [done, show] = useState(false)
  return (
    <button
      type="button"
      class="ghost small"
      onClick={() => {
        navigator.clipboard?.writeText(text).then(() => {
          show(true)
          setTimeout(() => show(false), 1500)
        }, () => undefined)
      }}
    >
      <span aria-live="polite">{done ? t.common.copied : t.common.copy}</span>
    </button>
  )
}

export function ServiceLink({ name }: { name: string }) {
  return <a href={href.service(name)} class="name">{name}</a>
}

// Pairs shows keys and values as they came.
export function Pairs({ pairs }: { pairs: [string, string][] }) {
  return <dl class="pairs">{pairs.map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>
}

// Fence keeps a failure in one part of a page from taking the whole page down.
export class Fence extends Component<{ children: ComponentChildren; note: string }, { failed: boolean }> {
  override state = { failed: false }
  static override getDerivedStateFromError(): { failed: boolean } {
    return { failed: true }
  }
  override componentDidCatch(err: unknown): void {
    console.error('console: a part failed to draw', err)
  }
  override render() {
    return this.state.failed ? <p class="trouble" role="alert">{this.props.note}</p> : this.props.children
  }
}
