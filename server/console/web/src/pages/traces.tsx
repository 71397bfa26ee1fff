// Search of traces. The form is the address: a search can be shared.
import { useEffect, useState } from 'preact/hooks'
import { api } from '../api'
import { clock, ms } from '../format'
import { useT } from '../i18n'
import { live } from '../live'
import { Card, Empty, Loading, StateIcon, Time, TroubleBox } from '../parts/basic'
import { NoTelemetry } from '../parts/notelemetry'
import { go, href } from '../router'
import { useStore } from '../store'
import { palette } from '../tracetree'
import { useLoad, useTitle } from '../use'

const spans = ['15', '60', '360', '1440', '0'] as const
const limits = ['20', '50', '200'] as const

interface Fields {
  service: string
  operation: string
  minMs: string
  error: string
  range: string // minutes back; '0' any time
  from: string
  to: string
  limit: string
}

function fields(q: URLSearchParams): Fields {
  const get = (k: string, otherwise = ''): string => q.get(k) ?? otherwise
  return {
    service: get('service'), operation: get('operation'), minMs: get('minMs'), error: get('error') === 'true' ? 'true' : '',
    range: get('range', '60'), from: get('from'), to: get('to'), limit: get('limit', '50'),
  }
}

// conditions turns the form into the API's query.
export function conditions(f: Fields, now: number): Record<string, string> {
  const back = Number(f.range)
  const between = f.from !== '' || f.to !== ''
  return {
    service: f.service, operation: f.operation, minMs: f.minMs, error: f.error, limit: f.limit,
    from: between ? f.from : back > 0 ? new Date(now - back * 60_000).toISOString() : '',
    to: between ? f.to : '',
  }
}

export function Traces({ query }: { query: URLSearchParams }) {
  const t = useT()
  const f = fields(query)
  const { topology } = useStore(live)
  const { data, trouble, loading, reload } = useLoad('traces?' + query.toString(), (s) => api.traces(conditions(f, Date.now()), s))
  useTitle(t.nav.traces)
  const names = [...new Set([...(topology?.nodes ?? []).filter((n) => n.kind === 'service').map((n) => n.name), f.service])].filter((n) => n !== '').sort()
  const hue = palette([...(topology?.nodes ?? []).map((n) => n.name), ...(data ?? []).flatMap((x) => x.services)])
  const longest = Math.max(1, ...(data ?? []).map((x) => x.durationMs))
  const narrow = f.service !== '' || f.operation !== '' || f.minMs !== '' || f.error !== '' || f.from !== '' || f.to !== ''
  const silent = topology !== null && topology.nodes.length === 0 && !narrow // nobody has reported anything
  return (
    <>
      <div class="bar"><h1>{t.traces.title}</h1><ById /></div>
      <Form key={query.toString()} start={f} names={names} again={reload} />
      {trouble && <TroubleBox trouble={trouble} retry={reload} />}
      {!data && loading && <Loading />}
      {data && data.length === 0 && (silent ? <NoTelemetry /> : <Card><Empty>{narrow || f.range !== '0' ? t.empty.traces : t.empty.tracesNone}</Empty></Card>)}
      {data && data.length > 0 && (
        <Card id="found" title={t.traces.found(data.length)} hint={data.length >= Number(f.limit) ? t.traces.capped(data.length) : undefined} flush>
          <div class="scroll">
            <table class="traces">
              <thead>
                <tr>
                  <th scope="col">{t.col.started}</th><th scope="col">{t.col.root}</th><th scope="col">{t.col.state}</th>
                  <th scope="col" class="num">{t.col.duration}</th><th scope="col"><span class="hide">{t.col.duration}</span></th>
                  <th scope="col" class="num">{t.col.spans}</th><th scope="col">{t.col.services}</th>
                </tr>
              </thead>
              <tbody>
                {data.map((x) => (
                  <tr key={x.traceId}>
                    <td class="tight"><Time at={x.start} millis /></td>
                    <th scope="row"><a href={href.trace(x.traceId)}><span class="name">{x.service}</span> <span class="plain-weight">{x.name}</span></a></th>
                    <td class="tight">{x.errors > 0 ? <span class="state state-bad"><StateIcon state="bad" />{t.traces.failedSpans(x.errors)}</span> : <span class="state state-ok"><StateIcon state="ok" /><span class="hide">{t.state.ok}</span></span>}</td>
                    <td class="num">{ms(x.durationMs)}</td>
                    <td class="bar-cell"><svg width="100" height="8" aria-hidden="true"><rect class={x.errors > 0 ? 'len len-bad' : 'len'} width={Math.max(2, (100 * x.durationMs) / longest)} height="8" rx="2" /></svg></td>
                    <td class="num">{x.spans}</td>
                    <td class="who">{x.services.map((s) => <span key={s} class={`chip hue-${hue.get(s) ?? 0}`}>{s}</span>)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </Card>
      )}
    </>
  )
}

function Form({ start, names, again }: { start: Fields; names: string[]; again: () => void }) {
  const t = useT()
  const [f, set] = useState(start)
  const put = (k: keyof Fields) => (e: { currentTarget: HTMLInputElement | HTMLSelectElement }): void => set({ ...f, [k]: e.currentTarget.value })
  const submit = (e: Event): void => {
    e.preventDefault()
    const to = href.traces({ ...f, service: f.service.trim(), operation: f.operation.trim(), range: f.range === '60' ? '' : f.range, limit: f.limit === '50' ? '' : f.limit })
    if (to === location.pathname + location.search) again()
    else go(to)
  }
  const label = (m: string): string => (m === '0' ? t.traces.anyTime : Number(m) < 60 ? `${m} ${t.units.min}` : `${Number(m) / 60} ${t.units.h}`)
  const between = f.from !== '' || f.to !== ''
  return (
    <form class="search" role="search" onSubmit={submit}>
      <label><span>{t.traces.service}</span>
        <select value={f.service} onChange={put('service')}><option value="">{t.traces.anyService}</option>{names.map((n) => <option key={n} value={n}>{n}</option>)}</select>
      </label>
      <label><span>{t.traces.operation}</span><input value={f.operation} placeholder={t.traces.anyOperation} onInput={put('operation')} /></label>
      <label class="short"><span>{t.traces.minMs}</span><input type="number" min="0" step="any" inputMode="numeric" value={f.minMs} onInput={put('minMs')} /></label>
      {between ? (
        <p class="between">
          <span>{t.traces.between(clock(f.from, Date.now()), clock(f.to, Date.now()))}</span>
          <button type="button" class="ghost" onClick={() => set({ ...f, from: '', to: '' })} aria-label={t.traces.anyTime}>×</button>
        </p>
      ) : (
        <label><span>{t.traces.range}</span><select value={f.range} onChange={put('range')}>{spans.map((m) => <option key={m} value={m}>{label(m)}</option>)}</select></label>
      )}
      <label><span>{t.traces.limit}</span><select value={f.limit} onChange={put('limit')}>{limits.map((n) => <option key={n} value={n}>{n}</option>)}</select></label>
      <label class="tick"><input type="checkbox" checked={f.error === 'true'} onChange={(e) => set({ ...f, error: e.currentTarget.checked ? 'true' : '' })} /> <span>{t.traces.errors}</span></label>
      <button type="submit" class="primary">{t.traces.search}</button>
    </form>
  )
}

function ById() {
  const t = useT()
  const [id, set] = useState('')
  const [wrong, say] = useState(false)
  useEffect(() => say(false), [id])
  return (
    <form
      class="actions"
      onSubmit={(e) => {
        e.preventDefault()
        const clean = id.trim().toLowerCase()
        if (/^[0-9a-f]{32}$/.test(clean)) go(href.trace(clean))
        else say(true)
      }}
    >
      {wrong && <span class="wrong" role="alert">{t.traces.badId}</span>}
      <input class="mono" size={34} value={id} placeholder={t.traces.byId} aria-label={t.traces.byId} aria-invalid={wrong} onInput={(e) => set(e.currentTarget.value)} />
      <button type="submit">{t.traces.openId}</button>
    </form>
  )
}
