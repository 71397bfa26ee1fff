// The first page: what is wrong, how everybody is, whether we see all of it.
import { useMemo, useState } from 'preact/hooks'
import { ms, rate, share, short } from '../format'
import { past, type Lane } from '../history'
import { useT } from '../i18n'
import { live } from '../live'
import { Card, Empty, Fence, KindTag, Loading, Mark, ServiceLink, StateIcon, Time } from '../parts/basic'
import { IncidentBand } from '../parts/incident'
import { NoTelemetry } from '../parts/notelemetry'
import { Spark } from '../parts/spark'
import { href } from '../router'
import { useStore } from '../store'
import type { Ingest, Node, Overview as Data } from '../types'
import { useTitle } from '../use'

export function Overview() {
  const t = useT()
  const { overview } = useStore(live)
  useTitle(t.nav.overview)
  if (overview === null) return <><h1>{t.overview.title}</h1><Loading /></>
  return (
    <>
      <h1>{t.overview.title}</h1>
      {!overview.ready && <p class="notice" role="status"><StateIcon state="warn" /> {t.overview.notReady}</p>}
      <Incidents data={overview} />
      <Tiles data={overview} />
      {overview.services.length === 0 ? <NoTelemetry /> : <Fence note={t.trouble.broken}><Services nodes={overview.services} /></Fence>}
    </>
  )
}

function Incidents({ data }: { data: Data }) {
  const t = useT()
  const open = data.incidents.filter((i) => i.state === 'open')
  const last = data.incidents.find((i) => i.state === 'resolved')
  const reviews = data.routes.filter((r) => r.review?.pending)
  return (
    <section aria-label={t.overview.openIncidents} class="bands">
      {open.map((i) => <IncidentBand key={i.id} incident={i} />)}
      {open.length === 0 && data.services.length > 0 && (
        <p class="calm">
          <StateIcon state="ok" /> <strong>{t.empty.incidentsNow}</strong>
          {last && <span class="muted"> {t.empty.lastResolved} <a href={href.incident(last.id)}>{last.origin || last.title}</a> <Time at={last.resolvedAt} /></span>}
        </p>
      )}
      {reviews.map((r) => r.review && (
        <article class="band band-warn" key={r.service}>
          <StateIcon state="warn" size={20} />
          <div class="band-text">
            <a class="band-title" href={href.service(r.service)}>{r.service}: {t.overview.releaseLine(r.review.version)}</a>
            <p class="band-facts"><span class="tag tag-warn">{t.overview.releases}</span><span>{r.review.reason}</span><Time at={r.review.since} /></p>
          </div>
        </article>
      ))}
    </section>
  )
}

function Tiles({ data }: { data: Data }) {
  const t = useT()
  const own = data.services.filter((s) => s.kind === 'service')
  const failing = data.services.filter((s) => s.state === 'bad').length
  const total = own.reduce((sum, s) => sum + s.rate, 0)
  const wrong = total > 0 ? own.reduce((sum, s) => sum + s.rate * s.errorShare, 0) / total : 0
  const i: Ingest = data.ingest
  const lossy = i.refused > 0 || i.droppedBatches > 0
  return (
    <dl class="tiles">
      <Tile name={t.overview.services} value={String(data.services.length)} note={failing > 0 ? t.overview.failing(failing) : data.services.length > 0 ? t.overview.noneFailing : ''} tone={failing > 0 ? 'bad' : ''} />
      <Tile name={t.overview.totalRate} value={rate(total)} note={t.common.lastMinute} hint={t.overview.totalRateHint} />
      <Tile name={t.col.errors} value={share(wrong)} note={t.common.lastMinute} tone={wrong >= 0.03 ? 'bad' : ''} />
      <Tile name={t.overview.spansPerSecond} value={rate(i.spansPerSecond)} note={lossy ? t.overview.ingestBad : t.overview.ingestOk} tone={lossy ? 'warn' : ''} />
      <Tile name={t.overview.refused} value={short(i.refused)} hint={t.overview.refusedHint} tone={i.refused > 0 ? 'warn' : ''} />
      <Tile name={t.overview.dropped} value={short(i.droppedBatches)} hint={t.overview.droppedHint} tone={i.droppedBatches > 0 ? 'warn' : ''} />
      <Tile name={t.overview.stored} value={short(i.spans + i.logs + i.points)} hint={t.overview.storedHint(short(i.spans), short(i.logs), short(i.points))} />
    </dl>
  )
}

function Tile({ name, value, note = '', hint = '', tone = '' }: { name: string; value: string; note?: string; hint?: string; tone?: '' | 'warn' | 'bad' }) {
  return (
    <div class={'tile' + (tone === '' ? '' : ' tile-' + tone)} title={hint}>
      <dt>{name}</dt>
      <dd><span class="big">{tone !== '' && <StateIcon state={tone} />}{value}</span>{note !== '' && <small>{note}</small>}</dd>
    </div>
  )
}

type Key = 'state' | 'name' | 'rate' | 'errorShare' | 'p50Ms' | 'p99Ms'
const weight = { bad: 0, warn: 1, ok: 2, idle: 3 }

// arrange sorts the services; equal ones stay in the order of their names.
export function arrange(nodes: readonly Node[], key: Key, filter: string): Node[] {
  const f = filter.trim().toLowerCase()
  const by = (a: Node, b: Node): number => {
    if (key === 'name') return 0
    if (key === 'state') return weight[a.state] - weight[b.state]
    return b[key] - a[key]
  }
  return nodes
    .filter((n) => f === '' || n.name.toLowerCase().includes(f) || n.owner.toLowerCase().includes(f))
    .sort((a, b) => by(a, b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

const nothing: Lane = { rate: [], errors: [], p99: [] }

function Services({ nodes }: { nodes: Node[] }) {
  const t = useT()
  const { lanes } = useStore(past)
  const [key, sort] = useState<Key>('state')
  const [filter, narrow] = useState('')
  const shown = useMemo(() => arrange(nodes, key, filter), [nodes, key, filter])
  const head = (k: Key, label: string, num = false) => (
    <th scope="col" class={num ? 'num' : ''} aria-sort={key === k ? (k === 'state' || k === 'name' ? 'ascending' : 'descending') : undefined}>
      <button type="button" class="sort" onClick={() => sort(k)}>{label}{key === k && <span aria-hidden="true"> {k === 'state' || k === 'name' ? '↑' : '↓'}</span>}</button>
    </th>
  )
  return (
    <Card
      id="services"
      title={t.overview.services}
      hint={`${t.common.lastMinute} · ${t.common.spark}`}
      actions={<input type="search" placeholder={t.overview.filter} aria-label={t.overview.filter} value={filter} onInput={(e) => narrow(e.currentTarget.value)} />}
      flush
    >
      <div class="scroll">
        <table class="services">
          <thead>
            <tr>
              {head('state', t.col.state)}
              {head('name', t.col.service)}
              {head('rate', t.col.rate, true)}
              {head('errorShare', t.col.errors, true)}
              {head('p50Ms', t.col.p50, true)}
              {head('p99Ms', t.col.p99, true)}
              <th scope="col">{t.col.versions}</th>
              <th scope="col">{t.col.owner}</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((n) => {
              const lane = lanes.get(n.name) ?? nothing
              return (
                <tr key={n.name} class={`row-${n.state}`}>
                  <td><Mark state={n.state} /></td>
                  <th scope="row"><ServiceLink name={n.name} /> <KindTag kind={n.kind} />{n.findings > 0 && <span class="tag tag-warn"><StateIcon state="warn" size={11} /> {t.vitals.mark(n.findings)}</span>}</th>
                  <td class="num"><span class="pair"><Spark values={lane.rate} tone="plain" label={t.common.spark} /><span>{rate(n.rate)}</span></span></td>
                  <td class={'num' + (n.errorShare > 0 ? ' hot' : '')}><span class="pair"><Spark values={lane.errors} tone="bad" floor={0.05} label={t.common.spark} /><span>{share(n.errorShare)}</span></span></td>
                  <td class="num">{n.rate > 0 ? ms(n.p50Ms) : '–'}</td>
                  <td class="num"><span class="pair"><Spark values={lane.p99} tone="cool" label={t.common.spark} /><span>{n.rate > 0 ? ms(n.p99Ms) : '–'}</span></span></td>
                  <td class="wrap">{n.versions.map((v) => <span class="tag" key={v.version}>{v.version || t.common.unknown}</span>)}</td>
                  <td>{n.owner !== '' ? n.owner : <span class="muted">{n.kind === 'service' ? t.common.noOwner : '–'}</span>}</td>
                </tr>
              )
            })}
          </tbody>
        </table>
        {shown.length === 0 && <Empty>{t.empty.filter}</Empty>}
      </div>
    </Card>
  )
}
