// One service: how it is, who depends on it, what to do when it breaks.
import { useState } from 'preact/hooks'
import { api } from '../api'
import { ms, rate, share } from '../format'
import { useLang, useT, word } from '../i18n'
import { live } from '../live'
import { safeHref } from '../markdown'
import { Card, Empty, Fence, KindTag, Loading, Mark, ServiceLink, StateIcon, Tag, TroubleBox } from '../parts/basic'
import { Instances, Settings } from '../parts/config'
import { EdgeTable } from '../parts/edges'
import { titleOf } from '../parts/incident'
import { lazy } from '../parts/lazy'
import { Logs } from '../parts/logs'
import { Markdown } from '../parts/markdown'
import { Release } from '../parts/release'
import { Findings, Locks } from '../parts/vitals'
import { href } from '../router'
import { recall, remember, useStore } from '../store'
import type { Breaker, Operation, Service as Data, Version } from '../types'
import { useLoad, useTitle } from '../use'

const Charts = lazy(() => import('../parts/charts'))
const VitalCharts = lazy(() => import('../parts/vitalcharts'))

export function Service({ name }: { name: string }) {
  const t = useT()
  const language = useLang()
  const { overview, topology, found } = useStore(live)
  const { data, trouble, reload } = useLoad(name, (s) => api.service(name, s), [], 3_000)
  const logs = useLoad(name, (s) => api.logs({ service: name, severity: 'WARN', limit: 30 }, s), [], 10_000)
  const vitals = useLoad(name, (s) => api.vitals(name, s), [found], 10_000)
  const config = useLoad(name, (s) => api.config(name, s), [], 3_000)
  const registered = useLoad(name, (s) => api.instances(name, s), [], 5_000)
  const [minutes, setMinutes] = useState(Number(recall('range') ?? 15))
  const pick = (n: number): void => {
    setMinutes(n)
    remember('range', String(n))
  }
  const [cleared, setCleared] = useState('')
  useTitle(name)

  const route = overview?.routes.find((r) => r.service === name)
  const incidents = overview?.incidents.filter((i) => i.state === 'open' && (i.origin === name || i.services.includes(name))) ?? []
  // The live numbers are a second old at most; the rest is read every three.
  const fresh = topology?.nodes.find((n) => n.name === name)
  const unlisted: Data | null = trouble?.kind === 'notFound' && fresh && topology
    ? { ...fresh, operations: [], callers: topology.edges.filter((e) => e.to === name), callees: topology.edges.filter((e) => e.from === name), catalog: null, runbook: '', breakers: [] }
    : null
  const known = data ?? unlisted // an external callee may be known to the topology only
  const now = known && { ...known, ...(fresh ?? {}) }
  const alarms = vitals.data?.findings.filter((f) => f.state === 'open') ?? []
  const outside = now !== null && now.kind !== 'service'

  return (
    <>
      <div class="bar">
        <h1 class="name">{name}</h1>
        {now && <><Mark state={now.state} /><KindTag kind={now.kind} /></>}
        {now && (now.catalog?.owner || now.owner) && <span class="muted">{t.col.owner}: <strong class="plain">{now.catalog?.owner || now.owner}</strong></span>}
        <span class="actions">
          <a class="button" href={href.traces({ service: name })}>{t.service.traces}</a>
          <a class="button" href={href.traces({ service: name, error: 'true' })}>{t.service.failedTraces}</a>
        </span>
      </div>
      {now?.catalog?.description && <p class="lead">{now.catalog.description}</p>}
      {incidents.map((i) => {
        const tone = i.severity === 'warn' ? 'warn' : 'bad'
        return <p key={i.id} class={'notice notice-' + tone}><StateIcon state={tone} /> <span>{t.service.inIncident} <a href={href.incident(i.id)}>{titleOf(i, language)}</a></span></p>
      })}
      {alarms.length > 0 && <p class="notice notice-warn"><StateIcon state="warn" /> <span><a href="#vitals">{t.vitals.open(alarms.length)}</a> {alarms.map((f) => word(t.vitals.kind, f.kind) + (f.version !== '' ? ` (${f.version})` : '')).join(', ')}</span></p>}
      {trouble && unlisted === null && <TroubleBox trouble={trouble} retry={reload} />}
      {!now && !trouble && <Loading />}
      {now && (
        <Fence note={t.trouble.broken}>
          <dl class="tiles">
            <div class="tile"><dt>{t.col.rate}</dt><dd><span class="big">{rate(now.rate)}</span></dd></div>
            <div class={'tile' + (now.errorShare >= 0.03 ? ' tile-bad' : '')}><dt>{t.col.errors}</dt><dd><span class="big">{now.errorShare >= 0.03 && <StateIcon state="bad" />}{share(now.errorShare)}</span></dd></div>
            <div class="tile"><dt>{t.col.p50}</dt><dd><span class="big">{now.rate > 0 ? ms(now.p50Ms) : '–'}</span></dd></div>
            <div class="tile"><dt>{t.col.p99}</dt><dd><span class="big">{now.rate > 0 ? ms(now.p99Ms) : '–'}</span></dd></div>
          </dl>
          {cleared === name && <p class="notice" role="status"><StateIcon state="ok" /> {t.service.cleared}</p>}
          {route && <Release key={name} route={route} cleared={() => setCleared(name)} />}
          {outside ? <p class="muted">{t.overview.external}</p> : <Charts service={name} minutes={minutes} pick={pick} stable={route?.stable ?? ''} canary={route?.canary ?? ''} />}
          {!outside && (vitals.data
            ? <Findings data={vitals.data} charts={<VitalCharts service={name} minutes={minutes} stable={route?.stable ?? ''} canary={route?.canary ?? ''} />} />
            : vitals.trouble && vitals.trouble.kind !== 'notFound' ? <TroubleBox trouble={vitals.trouble} retry={vitals.reload} /> : null)}
          {!outside && vitals.data && <Locks locks={vitals.data.locks} seconds={vitals.data.windowSeconds} incomplete={vitals.data.incomplete} />}
          {!outside && (config.data
            ? (config.data.keys.length > 0 || config.data.applied.length > 0 || config.data.pushes.length > 0) && <Settings service={name} data={config.data} />
            : config.trouble && config.trouble.kind !== 'notFound' ? <TroubleBox trouble={config.trouble} retry={config.reload} /> : null)}
          {!outside && registered.data && registered.data.length > 0 && <Instances all={registered.data} />}
          <div class="columns">
            {now.versions.length > 0 && <Versions versions={now.versions} stable={route?.stable ?? ''} canary={route?.canary ?? ''} />}
            {!outside && <Breakers breakers={now.breakers} />}
          </div>
          {!outside && <Operations service={name} operations={now.operations} />}
          <div class="columns">
            <Card id="callers" title={t.service.callers} flush>{now.callers.length > 0 ? <EdgeTable edges={now.callers} side="from" /> : <Empty>{t.empty.callers}</Empty>}</Card>
            {!outside && <Card id="callees" title={t.service.callees} flush>{now.callees.length > 0 ? <EdgeTable edges={now.callees} side="to" /> : <Empty>{t.empty.callees}</Empty>}</Card>}
          </div>
          {!outside && <Card id="logs" title={t.service.logs} flush>{logs.data ? <Logs logs={logs.data} withTrace /> : logs.trouble ? <TroubleBox trouble={logs.trouble} /> : <Loading />}</Card>}
          <div class="columns wide-left">
            <Card id="runbook" title={t.service.runbook}>{now.runbook.trim() !== '' ? <Markdown source={now.runbook} /> : <Empty>{t.empty.runbook(name)}</Empty>}</Card>
            <About data={now} />
          </div>
        </Fence>
      )}
    </>
  )
}

function Versions({ versions, stable, canary }: { versions: Version[]; stable: string; canary: string }) {
  const t = useT()
  return (
    <Card id="versions" title={t.service.versions} hint={t.common.lastMinute} flush>
      <div class="scroll">
        <table>
          <thead><tr><th scope="col">{t.col.version}</th><th scope="col" class="num">{t.col.rate}</th><th scope="col" class="num">{t.col.errors}</th><th scope="col" class="num">{t.col.p50}</th><th scope="col" class="num">{t.col.p99}</th></tr></thead>
          <tbody>
            {versions.map((v) => (
              <tr key={v.version}>
                <th scope="row">
                  <span class="name">{v.version || t.common.unknown}</span>{' '}
                  {v.version !== '' && v.version === stable && <Tag tone="ok">{t.service.stable}</Tag>}
                  {v.version !== '' && v.version === canary && <Tag tone="accent">{t.service.canary}</Tag>}
                </th>
                <td class="num">{rate(v.rate)}</td>
                <td class={'num' + (v.errorShare > 0 ? ' hot' : '')}>{share(v.errorShare)}</td>
                <td class="num">{v.rate > 0 ? ms(v.p50Ms) : '–'}</td>
                <td class="num">{v.rate > 0 ? ms(v.p99Ms) : '–'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  )
}

const worst = { open: 0, 'half-open': 1, closed: 2 }
const tones = { closed: 'ok', 'half-open': 'warn', open: 'bad' } as const

function Breakers({ breakers }: { breakers: Breaker[] }) {
  const t = useT()
  const sorted = [...breakers].sort((a, b) => worst[a.state] - worst[b.state] || (a.target + a.instance < b.target + b.instance ? -1 : 1))
  return (
    <Card id="breakers" title={t.service.breakers} flush>
      {sorted.length === 0 ? <Empty>{t.empty.breakers}</Empty> : (
        <div class="scroll">
          <table>
            <thead><tr><th scope="col">{t.col.state}</th><th scope="col">{t.col.target}</th><th scope="col">{t.col.instance}</th></tr></thead>
            <tbody>
              {sorted.map((b) => (
                <tr key={b.target + '\n' + b.instance}>
                  <td title={t.service.breakerMeans[b.state]}><span class={`state state-${tones[b.state]}`}><StateIcon state={tones[b.state]} />{t.service.breaker[b.state]}</span></td>
                  <td><ServiceLink name={b.target} /></td>
                  <td class="muted">{b.instance || '–'}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  )
}

function Operations({ service, operations }: { service: string; operations: Operation[] }) {
  const t = useT()
  return (
    <Card id="operations" title={t.service.operations} hint={t.common.lastMinute} flush>
      {operations.length === 0 ? <Empty>{t.empty.operations}</Empty> : (
        <div class="scroll">
          <table>
            <thead><tr><th scope="col">{t.col.operation}</th><th scope="col">{t.col.kind}</th><th scope="col" class="num">{t.col.rate}</th><th scope="col" class="num">{t.col.errors}</th><th scope="col" class="num">{t.col.p50}</th><th scope="col" class="num">{t.col.p99}</th></tr></thead>
            <tbody>
              {operations.map((o) => (
                <tr key={o.name + '\n' + o.kind}>
                  <th scope="row"><a class="name" href={href.traces({ service, operation: o.name })}>{o.name}</a></th>
                  <td class="muted">{word(t.spanKind, o.kind)}</td>
                  <td class="num">{rate(o.rate)}</td>
                  <td class={'num' + (o.errorShare > 0 ? ' hot' : '')}>{share(o.errorShare)}</td>
                  <td class="num">{ms(o.p50Ms)}</td>
                  <td class="num">{ms(o.p99Ms)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  )
}

function About({ data }: { data: Data }) {
  const t = useT()
  const c = data.catalog
  return (
    <Card id="about" title={t.service.about}>
      {c === null ? <Empty>{t.empty.catalog(data.name)}</Empty> : (
        <dl class="facts">
          <dt>{t.col.owner}</dt><dd>{c.owner || t.common.noOwner}</dd>
          {c.lifecycle !== '' && <><dt>{t.service.lifecycle}</dt><dd>{c.lifecycle}</dd></>}
          {c.dependsOn.length > 0 && <><dt>{t.service.dependsOn}</dt><dd>{c.dependsOn.map((d) => <Depends key={d} entity={d} />)}</dd></>}
          {c.links.length > 0 && (
            <>
              <dt>{t.service.links}</dt>
              <dd>
                {c.links.map((l) => {
                  const to = safeHref(l.url)
                  return <div key={l.url}>{to !== null ? <a href={to} target="_blank" rel="noopener noreferrer">{l.title}</a> : <span>{l.title} ({l.url})</span>}</div>
                })}
              </dd>
            </>
          )}
        </dl>
      )}
    </Card>
  )
}

// Depends shows "component:default/bank" or "bank" as a link to bank.
function Depends({ entity }: { entity: string }) {
  const name = entity.replace(/^[a-z]+:/i, '').replace(/^[^/]*\//, '')
  return <div><ServiceLink name={name} /></div>
}
