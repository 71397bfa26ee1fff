// One incident: the verdict first, then what it rests on.
import { api } from '../api'
import { metricValue, share, short } from '../format'
import { useLang, useT, word } from '../i18n'
import { live } from '../live'
import { Card, Empty, Fence, Lasting, Loading, ServiceLink, StateIcon, Tag, Time, TroubleBox } from '../parts/basic'
import { titleOf } from '../parts/incident'
import { Markdown } from '../parts/markdown'
import { href } from '../router'
import { useStore } from '../store'
import type { Incident as Data, Report } from '../types'
import { useLoad, useTitle } from '../use'

export function Incident({ id }: { id: string }) {
  const t = useT()
  const language = useLang()
  const { bump, overview } = useStore(live)
  // The live copy of an open incident changes with its symptoms; read again then.
  const seen = overview?.incidents.find((i) => i.id === id)
  const turn = seen ? `${seen.state}${seen.hasReport}${seen.timeline.length}` : ''
  const { data, trouble, reload } = useLoad(id, (s) => api.incident(id, s), [bump, turn])
  const has = data?.hasReport ?? false
  const report = useLoad<Report | null>(id + '\n' + language + '\n' + has, (s) => (has ? api.report(id, language, s) : Promise.resolve(null)), [bump, turn])
  useTitle(data ? titleOf(data, language) : t.nav.incidents)
  return (
    <>
      {!data && <h1>{t.incidents.title}</h1>}
      {trouble && <TroubleBox trouble={trouble} retry={reload} />}
      {!data && !trouble && <Loading />}
      {data && (
        <Fence note={t.trouble.broken}>
          <Head data={data} />
          {!has && <p class="notice" role="status"><StateIcon state="idle" /> {t.empty.report}</p>}
          {report.trouble && <TroubleBox trouble={report.trouble} retry={report.reload} />}
          {has && !report.data && !report.trouble && <Loading />}
          {report.data && <Diagnosis report={report.data} incident={data} />}
          <div class="columns">
            <Symptoms data={data} />
            <Timeline data={data} />
          </div>
          {report.data && report.data.markdown !== '' && (
            <details class="card fold">
              <summary><h2>{t.incidents.full}</h2></summary>
              <div class="card-body"><Markdown source={report.data.markdown} /></div>
            </details>
          )}
        </Fence>
      )}
    </>
  )
}

function Head({ data }: { data: Data }) {
  const t = useT()
  const language = useLang()
  const open = data.state === 'open'
  const findings = data.symptoms.filter((s) => s.finding !== null) // a leak alone fails no call
  const to = data.resolvedAt !== '' ? data.resolvedAt : ''
  return (
    <>
      <div class="bar">
        <StateIcon state={open ? (data.severity === 'warn' ? 'warn' : 'bad') : 'ok'} size={22} />
        <h1>{titleOf(data, language)}</h1>
        <Tag tone={open ? 'bad' : 'ok'}>{t.incidents[data.state]}</Tag>
        <span class="actions">
          {data.origin !== '' && findings.length > 0 && <a class="button" href={href.service(data.origin)}>{t.vitals.of(data.origin)}</a>}
          {(findings.length === 0 || findings.length < data.symptoms.length) && <a class="button" href={href.traces({ error: 'true', from: data.openedAt, to })}>{t.incidents.seeTraces}</a>}
          {data.hasReport && <a class="button" href={api.reportFile(data.id, language)} download={`${data.id}.md`}>{t.incidents.download}</a>}
        </span>
      </div>
      <dl class="tiles">
        <div class="tile"><dt>{t.incidents.origin}</dt><dd><span class="big">{data.origin !== '' ? <ServiceLink name={data.origin} /> : '–'}</span><small>{data.origin === '' ? t.incidents.originUnknown : word(t.kind, data.originKind)}</small></dd></div>
        <div class="tile"><dt>{t.incidents.owner}</dt><dd><span class="big">{data.owner || '–'}</span>{data.owner === '' && <small>{t.common.noOwner}</small>}</dd></div>
        <div class="tile"><dt>{t.col.opened}</dt><dd><span class="big"><Time at={data.openedAt} /></span><small><Lasting from={data.openedAt} to={data.resolvedAt} /></small></dd></div>
        <div class="tile"><dt>{t.incidents.affected}</dt><dd class="wrap">{data.services.length === 0 ? '–' : data.services.map((s) => <a key={s} class="chip" href={href.service(s)}>{s}</a>)}</dd></div>
      </dl>
    </>
  )
}

function Diagnosis({ report: r, incident }: { report: Report; incident: Data }) {
  const t = useT()
  const zh = useLang() === 'zh'
  const best = Math.max(...r.candidates.map((c) => c.score), r.origin?.score ?? 0, 0)
  return (
    <>
      <Card id="diagnosis" title={t.incidents.diagnosis} hint={<>{t.incidents.written('')}<Time at={r.at} /></>}>
        {r.origin && <p class={incident.state === 'open' ? 'verdict' : 'verdict done'}><strong>{t.incidents.originIs(r.origin.version !== '' ? `${r.origin.name} ${r.origin.version}` : r.origin.name)}</strong> {zh ? r.origin.whyZh : r.origin.why}</p>}
        <h3>{t.incidents.evidence}</h3>
        {r.evidence.length === 0 ? <Empty>{t.empty.evidence}</Empty> : (
          <ol class="evidence">
            {r.evidence.map((e, i) => (
              <li key={i}>
                <span>{zh ? e.textZh : e.text}</span>
                {e.at !== '' && <span class="muted small"><Time at={e.at} /></span>}
                {e.traceId !== '' && <a href={href.trace(e.traceId)}>{t.incidents.seeTrace} <code>{e.traceId.slice(0, 8)}</code></a>}
              </li>
            ))}
          </ol>
        )}
      </Card>
      <div class="columns">
        <Card id="suspects" title={t.incidents.candidates} flush>
          <div class="scroll">
            <table>
              <thead><tr><th scope="col">{t.col.name}</th><th scope="col">{t.col.score}</th><th scope="col">{t.col.why}</th></tr></thead>
              <tbody>
                {(r.candidates.length > 0 ? r.candidates : r.origin ? [r.origin] : []).map((c) => (
                  <tr key={c.name}>
                    <th scope="row"><ServiceLink name={c.name} /> {c.version !== '' && <Tag>{c.version}</Tag>}</th>
                    <td class="tight">
                      <svg width="60" height="8" aria-hidden="true"><rect class="weight-all" width="60" height="8" rx="2" /><rect class="weight-part" width={best > 0 ? (60 * c.score) / best : 0} height="8" rx="2" /></svg> {short(c.score)}
                    </td>
                    <td>{zh ? c.whyZh : c.why}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </Card>
        <Card id="impact" title={t.incidents.impact} flush>
          {r.impact.length === 0 ? <Empty>{t.empty.impact}</Empty> : <div class="scroll">
            <table>
              <thead><tr><th scope="col">{t.col.service}</th><th scope="col" class="num">{t.col.errors}</th><th scope="col" class="num">{t.col.requests}</th></tr></thead>
              <tbody>{r.impact.map((i) => <tr key={i.service}><th scope="row"><ServiceLink name={i.service} /></th><td class={'num' + (i.errorShare > 0 ? ' hot' : '')}>{share(i.errorShare)}</td><td class="num">{short(i.requests)}</td></tr>)}</tbody>
            </table>
          </div>}
        </Card>
      </div>
      {r.runbook && (
        <Card id="runbook" title={t.incidents.runbook} hint={r.runbook.title} actions={r.owner || incident.owner ? <span class="muted">{t.incidents.owner}: {r.owner || incident.owner}</span> : undefined}>
          <Markdown source={r.runbook.body} />
        </Card>
      )}
    </>
  )
}

function Symptoms({ data }: { data: Data }) {
  const t = useT()
  return (
    <Card id="symptoms" title={t.incidents.symptoms} flush>
      {data.symptoms.length === 0 ? <Empty>{t.empty.symptoms}</Empty> : (
        <div class="scroll">
          <table>
            <thead><tr><th scope="col">{t.col.target}</th><th scope="col">{t.col.metric}</th><th scope="col" class="num">{t.col.now}</th><th scope="col" class="num">{t.col.usual}</th><th scope="col">{t.col.since}</th></tr></thead>
            <tbody>
              {data.symptoms.map((s, i) => (
                <tr key={i}>
                  <th scope="row"><ServiceLink name={s.target} /></th>
                  <td>{word(t.metric, s.metric)}{s.finding && s.finding.version !== '' && <> <Tag>{s.finding.version}</Tag></>}</td>
                  <td class="num hot">{metricValue(s.metric, s.value, s.unit)}</td>
                  <td class="num">{s.baseline > 0 || s.finding === null ? metricValue(s.metric, s.baseline, s.unit) : '–'}</td>
                  <td class="tight"><Time at={s.since} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  )
}

function Timeline({ data }: { data: Data }) {
  const t = useT()
  const zh = useLang() === 'zh'
  return (
    <Card id="timeline" title={t.incidents.timeline}>
      <ol class="timeline">{data.timeline.map((e, i) => <li key={i}><Time at={e.at} /><span>{zh ? e.textZh : e.text}</span></li>)}</ol>
    </Card>
  )
}
