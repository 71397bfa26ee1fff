// The settings of a service: what they are, which process runs which revision,
// and the push under way.
import { amount } from '../format'
import { useLang, useT, word } from '../i18n'
import type { Change, Config, Push, Registered, Runs } from '../types'
import { Ago, Card, Copy, Empty, StateIcon, Tag, Time } from './basic'

const tones = { running: 'accent', committed: 'ok', rolled_back: 'bad', aborted: 'warn' } as const
const most = 50 // rows of a table before the rest is counted

export function Settings({ service, data }: { service: string; data: Config }) {
  const t = useT()
  const running = data.pushes.filter((p) => p.state === 'running')
  const ended = data.pushes.filter((p) => p.state !== 'running')
  return (
    <Card id="config" title={t.config.title} hint={t.config.hint} actions={running.length > 0 ? <Tag tone="accent">{t.config.running(running.length)}</Tag> : undefined}>
      {running.map((p) => <One key={p.id} service={service} push={p} />)}
      {data.keys.length === 0 ? <Empty>{t.config.none}</Empty> : (
        <div class="scroll">
          <table>
            <thead><tr><th scope="col">{t.config.key}</th><th scope="col">{t.config.value}</th><th scope="col" class="num">{t.config.revision}</th><th scope="col">{t.config.changed}</th></tr></thead>
            <tbody>
              {data.keys.map((k) => (
                <tr key={k.key}>
                  <th scope="row"><code>{k.key}</code></th>
                  <td><code class="break">{k.value}</code></td>
                  <td class="num">{k.revision}</td>
                  <td>{k.at !== '' && <Time at={k.at} />} {k.by}{k.why !== '' && <span class="muted"> · {k.why}</span>}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {data.applied.length > 0 && <><h3>{t.config.who}</h3><Who runs={data.applied} /></>}
      {ended.length > 0 && <><h3>{t.config.pushes}</h3>{ended.map((p) => <One key={p.id} service={service} push={p} />)}</>}
    </Card>
  )
}

function Who({ runs }: { runs: Runs[] }) {
  const t = useT()
  const newest = new Map<string, number>()
  for (const r of runs) newest.set(r.key, Math.max(newest.get(r.key) ?? 0, r.revision))
  // Those that refuse or lag behind come first: they are why somebody looks.
  const rank = (r: Runs): number => (r.refused > 0 ? 0 : r.revision < (newest.get(r.key) ?? 0) ? 1 : 2)
  const sorted = [...runs].sort((a, b) => rank(a) - rank(b) || (a.key + '\n' + a.instance < b.key + '\n' + b.instance ? -1 : 1))
  return (
    <div class="scroll">
      <table>
        <thead><tr><th scope="col">{t.config.key}</th><th scope="col">{t.col.instance}</th><th scope="col">{t.col.version}</th><th scope="col" class="num">{t.config.revision}</th><th scope="col">{t.col.state}</th></tr></thead>
        <tbody>
          {sorted.slice(0, most).map((r) => (
            <tr key={r.key + '\n' + r.instance}>
              <th scope="row"><code>{r.key}</code></th>
              <td>{r.instance}</td>
              <td>{r.version || '–'}</td>
              <td class="num">{r.revision > 0 ? r.revision : t.config.own}</td>
              <td>{r.refused > 0
                ? <span class="state state-bad"><StateIcon state="bad" /> {t.config.refused(r.refused)}</span>
                : rank(r) === 1 ? <span class="state state-warn"><StateIcon state="warn" /> {t.config.behind}</span> : <span class="state state-ok"><StateIcon state="ok" /> {t.config.current}</span>}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {sorted.length > most && <p class="small muted">{t.config.more(sorted.length - most)}</p>}
    </div>
  )
}

function One({ service, push: p }: { service: string; push: Push }) {
  const t = useT()
  const zh = useLang() === 'zh'
  const why = zh && p.reasonZh !== '' ? p.reasonZh : p.reason
  const undo = p.state === 'running' ? `surefoot config abort ${service} ${p.key} --by NAME` : `surefoot config rollback ${service} ${p.key} --by NAME`
  return (
    <div class="finding">
      <p class="finding-head">
        <Tag tone={tones[p.state]}>{word(t.config.state, p.state)}</Tag> <code>{p.key}</code>
        {p.state === 'running' && <strong>{t.config.stage(p.stage, p.share, p.instances)}</strong>}
        <span class="muted">{p.by} · <Ago at={p.since} />{p.why !== '' && ` · ${p.why}`}</span>
      </p>
      {why !== '' && <p class="finding-text">{why}</p>}
      <Diff changes={p.diff} />
      {(p.state === 'running' || p.state === 'committed') && <p class="small muted">{p.state === 'running' ? t.config.takeBack : t.config.goBack} <code>{undo}</code> <Copy text={undo} /></p>}
    </div>
  )
}

function Diff({ changes }: { changes: Change[] }) {
  const t = useT()
  if (changes.length === 0) return null
  return (
    <ul class="diff" aria-label={t.config.diff}>
      {changes.map((c) => <li key={c.path}><code>{c.path || '.'}</code> <del>{c.before || t.config.unset}</del> → <ins>{c.after || t.config.unset}</ins></li>)}
    </ul>
  )
}

export function Instances({ all }: { all: Registered[] }) {
  const t = useT()
  return (
    <Card id="instances" title={t.config.instances} hint={t.config.instancesHint} flush>
      <div class="scroll">
        <table>
          <thead><tr><th scope="col">{t.col.instance}</th><th scope="col">{t.config.address}</th><th scope="col">{t.col.version}</th><th scope="col">{t.config.zone}</th><th scope="col" class="num">{t.config.weight}</th></tr></thead>
          <tbody>{all.slice(0, most).map((i) => <tr key={i.id}><th scope="row">{i.id}</th><td><code>{i.addr}</code></td><td>{i.version || '–'}</td><td>{i.zone || '–'}</td><td class="num">{amount(i.weight, 'count')}</td></tr>)}</tbody>
        </table>
        {all.length > most && <p class="small muted">{t.config.more(all.length - most)}</p>}
      </div>
    </Card>
  )
}
