// What the processes of a service say of their own health: what grows without
// end, and which locks they wait for.
import type { ComponentChildren } from 'preact'
import { amount, ms, rate, short, span } from '../format'
import { useLang, useT, word } from '../i18n'
import { href } from '../router'
import type { Finding, Lock, Vitals as Data } from '../types'
import { Ago, Card, Empty, Lasting, StateIcon, Tag, Time } from './basic'

export function Findings({ data, charts }: { data: Data; charts: ComponentChildren }) {
  const t = useT()
  const open = data.findings.filter((f) => f.state === 'open')
  const closed = data.findings.filter((f) => f.state === 'closed')
  return (
    <Card id="vitals" title={t.vitals.title} hint={t.vitals.hint} actions={open.length > 0 ? <Tag tone="warn">{t.vitals.open(open.length)}</Tag> : undefined}>
      {open.length > 0 && <ul class="findings">{open.map((f) => <One key={f.id + f.instance} finding={f} />)}</ul>}
      {open.length === 0 && <Empty>{closed.length > 0 ? t.vitals.noneOpen : t.vitals.none}</Empty>}
      {closed.length > 0 && (
        <>
          <h3>{t.vitals.recently}</h3>
          <ul class="findings">{closed.map((f) => <One key={f.id + f.instance} finding={f} />)}</ul>
        </>
      )}
      {charts}
    </Card>
  )
}

function One({ finding: f }: { finding: Finding }) {
  const t = useT()
  const zh = useLang() === 'zh'
  const open = f.state === 'open'
  return (
    <li class={'finding' + (open ? ' finding-open' : '')}>
      <p class="finding-head">
        <span class={open ? 'state state-warn' : 'state'}><StateIcon state={open ? 'warn' : 'ok'} /> <strong>{word(t.vitals.kind, f.kind)}</strong></span>
        <Tag tone={open ? 'warn' : 'ok'}>{open ? t.vitals.state.open : f.expired ? t.vitals.state.expired : t.vitals.state.closed}</Tag>
        {f.version !== '' && <Tag>{f.version}</Tag>}
        <span class="muted">{t.vitals.since} <Time at={f.since} /> · <Lasting from={f.since} to={f.closedAt || (open ? '' : f.at)} /></span>
      </p>
      <p class="finding-text">{zh ? f.textZh : f.text}</p>
      <dl class="finding-facts">
        {f.count > 0 && <Fact name={t.vitals.count}>{String(f.count)}</Fact>}
        <Fact name={t.vitals.now}>{amount(f.value, f.unit)}{f.before > 0 && <span class="muted"> {t.vitals.before(amount(f.before, f.unit))}</span>}</Fact>
        {f.perMinute > 0 && <Fact name={t.vitals.growth}>{t.vitals.perMinute(amount(f.perMinute, f.unit))}</Fact>}
        {f.limit > 0 && <Fact name={t.vitals.limit}>{amount(f.limit, f.unit)}</Fact>}
        {f.created !== '' && <Fact name={t.vitals.created}><code>{f.created}</code>{f.creator !== '' && <> <code class="muted">{f.creator}</code></>}</Fact>}
        {f.blocked !== '' && <Fact name={t.vitals.blocked}><code>{f.blocked}</code>{f.wait !== '' && <span class="muted"> {word(t.vitals.waitOn, f.wait)}</span>}{f.waitSeconds >= 1 && <span class="muted"> {t.forSpan(span(f.waitSeconds * 1000, t.units))}</span>}</Fact>}
        {f.method !== '' && <Fact name={t.vitals.method}>{word(t.vitals.methods, f.method)}</Fact>}
        {f.instance !== '' && <Fact name={t.col.instance}>{f.instance}</Fact>}
        {f.traceId !== '' && <Fact name={t.col.trace}><a href={href.trace(f.traceId)}>{t.incidents.seeTrace} <code>{f.traceId.slice(0, 8)}</code></a></Fact>}
        {open && f.at !== '' && <Fact name={t.vitals.heard}><Ago at={f.at} /></Fact>}
      </dl>
    </li>
  )
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return <div><dt>{name}</dt><dd>{children}</dd></div>
}

export function Locks({ locks, seconds, incomplete = false }: { locks: Lock[]; seconds: number; incomplete?: boolean }) {
  const t = useT()
  const over = seconds < 120 ? `${seconds} ${t.units.s}` : span(seconds * 1000, t.units)
  return (
    <Card id="locks" title={t.vitals.locks} hint={t.vitals.locksHint(over)} flush>
      {locks.length === 0 ? <Empty>{incomplete ? t.vitals.unreadable : t.vitals.noLocks(over)}</Empty> : (
        <div class="scroll">
          <table>
            <thead><tr><th scope="col">{t.vitals.lock}</th><th scope="col" class="num">{t.vitals.waitPerSecond}</th><th scope="col" class="num">{t.vitals.waitsPerSecond}</th><th scope="col" class="num">{t.vitals.waits}</th></tr></thead>
            <tbody>
              {locks.map((l) => (
                <tr key={l.kind + '\n' + l.name}>
                  <th scope="row"><code class="break">{l.name || t.common.unknown}</code> {l.kind === 'site' && <Tag>{t.vitals.site}</Tag>}</th>
                  <td class={'num' + (l.waitPerSecond >= 1 ? ' hot' : '')}>{ms(l.waitPerSecond * 1000)}/s</td>
                  <td class="num">{rate(l.waitsPerSecond)}</td>
                  <td class="num">{short(l.waits)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  )
}
