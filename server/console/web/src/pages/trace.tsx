// One trace: why it failed on top, then where its time went, then any span.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { api } from '../api'
import { ms } from '../format'
import { useT, word } from '../i18n'
import { live } from '../live'
import { Card, Copy, Empty, Fence, Loading, Pairs, ServiceLink, StateIcon, Tag, Time, TroubleBox } from '../parts/basic'
import { Logs } from '../parts/logs'
import { go, href } from '../router'
import { useStore } from '../store'
import { chain, extent, palette, tree, visible, type Row } from '../tracetree'
import type { Hop, Span, Trace as Data } from '../types'
import { useLoad, useTitle } from '../use'

export function Trace({ id, span }: { id: string; span: string }) {
  const t = useT()
  const { data, trouble, reload } = useLoad(id, (s) => api.trace(id, s))
  const logs = useLoad(id, (s) => api.logs({ traceId: id, limit: 200 }, s))
  useTitle(`${t.trace.title} ${id.slice(0, 8)}`)
  const rows = useMemo(() => (data ? tree(data.spans) : []), [data])
  const hops = data ? (data.chain.length > 0 ? data.chain : chain(data.spans)) : []
  const range = data ? extent(data.spans) : { from: 0, to: 1 }
  const services = new Set(data?.spans.map((s) => s.service))
  const orphans = rows.filter((r) => r.orphan).length
  const root = rows[0]?.span
  return (
    <>
      <div class="bar">
        <h1>{root ? <><span class="name">{root.service}</span> {root.name}</> : t.trace.title}</h1>
        {data && <span class="muted">{t.trace.summary(data.spans.length, services.size)} · {ms(range.to - range.from)} · {root && <Time at={root.start} millis />}</span>}
        <span class="actions"><code class="small">{id}</code><Copy text={id} /></span>
      </div>
      {trouble && <TroubleBox trouble={trouble} retry={reload} />}
      {!data && !trouble && <Loading />}
      {data && (
        <Fence note={t.trouble.broken}>
          {hops.length > 0 && <Chain hops={hops} />}
          <Waterfall key={id} data={data} rows={rows} from={range.from} to={range.to} chosen={span} orphans={orphans} />
          <Card id="trace-logs" title={t.trace.logs} flush>
            {logs.data ? <Logs logs={[...logs.data].sort((a, b) => (a.at < b.at ? -1 : 1))} withTrace={false} /> : logs.trouble ? <TroubleBox trouble={logs.trouble} retry={logs.reload} /> : <Loading />}
          </Card>
        </Fence>
      )}
    </>
  )
}

function Chain({ hops }: { hops: Hop[] }) {
  const t = useT()
  return (
    <Card id="chain" title={t.trace.chain} hint={t.trace.chainHint}>
      <ol class="chain">
        {hops.map((h, i) => (
          <li key={i} class={i === hops.length - 1 ? 'hop hop-origin' : 'hop'}>
            <span class="hop-head"><ServiceLink name={h.service} />{i === hops.length - 1 && <Tag tone="bad">{t.trace.origin}</Tag>}</span>
            <span class="hop-op">{h.op}</span>
            <span class="hop-error"><StateIcon state="bad" /> {h.error}</span>
            <span class="muted small">{ms(h.elapsedMs)}</span>
          </li>
        ))}
      </ol>
    </Card>
  )
}

const page = 400

function Waterfall({ data, rows, from, to, chosen, orphans }: { data: Data; rows: Row[]; from: number; to: number; chosen: string; orphans: number }) {
  const t = useT()
  const [folded, fold] = useState<ReadonlySet<string>>(new Set())
  const [limit, more] = useState(page)
  const shown = useMemo(() => visible(rows, folded), [rows, folded])
  const selected = data.spans.find((s) => s.spanId === chosen) ?? null
  const [at, move] = useState(Math.max(0, rows.findIndex((r) => r.span.spanId === chosen)))
  const box = useRef<HTMLDivElement>(null)
  const total = to - from
  const { topology } = useStore(live)
  const hue = palette([...(topology?.nodes ?? []).map((n) => n.name), ...data.spans.map((s) => s.service)])

  const toggle = (row: Row): void => {
    const next = new Set(folded)
    if (!next.delete(row.span.spanId)) next.add(row.span.spanId)
    fold(next)
  }
  const select = (s: Span): void => go(href.trace(data.traceId, s.spanId), true)
  const focus = (i: number): void => {
    const to = Math.max(0, Math.min(Math.min(shown.length, limit) - 1, i))
    move(to)
    box.current?.querySelectorAll<HTMLElement>('[role=treeitem]')[to]?.focus()
  }
  const keys = (e: KeyboardEvent): void => {
    const row = shown[at]
    if (!row) return
    const isFolded = folded.has(row.span.spanId)
    switch (e.key) {
      case 'ArrowDown': focus(at + 1); break
      case 'ArrowUp': focus(at - 1); break
      case 'Home': focus(0); break
      case 'End': focus(shown.length - 1); break
      case 'ArrowLeft':
        if (row.kids > 0 && !isFolded) toggle(row)
        else for (let i = at - 1; i >= 0; i--) if ((shown[i] as Row).depth < row.depth) { focus(i); break }
        break
      case 'ArrowRight':
        if (row.kids > 0 && isFolded) toggle(row)
        else if (row.kids > 0) focus(at + 1)
        break
      case 'Enter':
      case ' ': select(row.span); break
      default: return
    }
    e.preventDefault()
  }
  useEffect(() => {
    if (at >= shown.length) move(Math.max(0, shown.length - 1))
  }, [shown.length])
  const ticks = [0, 0.25, 0.5, 0.75, 1]
  return (
    <div class="columns trace">
      <Card id="waterfall" title={t.trace.waterfall} hint={orphans > 0 ? t.trace.missingCount(orphans) : t.trace.waterfallHint} flush>
        <div class="wf-scale" aria-hidden="true">
          <span />
          <span class="wf-ticks">{ticks.map((f) => <span key={f} class={`wf-tick at-${f * 100}`}>{ms(from + total * f)}</span>)}</span>
          <span />
        </div>
        <div ref={box} class="wf" role="tree" aria-label={t.trace.waterfall} onKeyDown={keys}>
          {shown.slice(0, limit).map((row, i) => {
            const s = row.span
            const left = (100 * (s.offsetMs - from)) / total
            const width = Math.max(0.15, (100 * s.durationMs) / total)
            const isFolded = folded.has(s.spanId)
            return (
              <div
                key={s.spanId}
                role="treeitem"
                class={`wf-row hue-${hue.get(s.service) ?? 0}${s.error ? ' failed' : ''}${s.spanId === chosen ? ' chosen' : ''}`}
                aria-level={row.depth + 1}
                aria-expanded={row.kids > 0 ? !isFolded : undefined}
                aria-selected={s.spanId === chosen}
                aria-label={`${s.service} ${s.name}, ${ms(s.durationMs)}${s.error ? ', ' + t.trace.failed : ''}`}
                tabIndex={i === Math.min(at, shown.length - 1) ? 0 : -1}
                onFocus={() => move(i)}
                onClick={() => select(s)}
              >
                <span class="wf-label" style={{ paddingLeft: `${Math.min(row.depth, 24) * 14 + 8}px` }}>
                  <span
                    class={'wf-fold' + (row.kids > 0 ? '' : ' none')}
                    aria-hidden="true"
                    onClick={(e) => {
                      e.stopPropagation()
                      if (row.kids > 0) toggle(row)
                    }}
                  >{row.kids > 0 ? (isFolded ? '▸' : '▾') : ''}</span>
                  <span class="wf-service">{s.service}</span>
                  {s.error && <StateIcon state="bad" size={12} />}
                  <span class="wf-name">{s.name}</span>
                  {isFolded && <small class="muted">{t.trace.folded(row.below)}</small>}
                  {row.orphan && <small class="muted" title={t.trace.missing}>?</small>}
                </span>
                <span class="wf-track">
                  <span class="wf-bar" style={{ left: `${left}%`, width: `${width}%` }} />
                </span>
                <span class="wf-time">{ms(s.durationMs)}</span>
              </div>
            )
          })}
        </div>
        {shown.length > limit && <p class="pad"><button type="button" onClick={() => more(limit + page)}>{t.common.more(Math.min(page, shown.length - limit))}</button></p>}
      </Card>
      <Detail span={selected} row={rows.find((r) => r.span === selected) ?? null} />
    </div>
  )
}

function Detail({ span: s, row }: { span: Span | null; row: Row | null }) {
  const t = useT()
  if (s === null) return <Card id="span" title={t.trace.span} class="detail"><Empty>{t.trace.selectSpan}</Empty></Card>
  const pairs = Object.entries(s.attributes).sort(([a], [b]) => (a < b ? -1 : 1))
  return (
    <Card id="span" title={t.trace.span} class="detail" actions={<Copy text={s.spanId} />}>
      <h3 class="name">{s.name}</h3>
      {s.error && <p class="failure"><StateIcon state="bad" /> {s.message || t.trace.failed}</p>}
      <dl class="facts">
        <dt>{t.col.service}</dt><dd><ServiceLink name={s.service} /> {s.version !== '' && <Tag>{s.version}</Tag>}</dd>
        <dt>{t.col.kind}</dt><dd>{word(t.spanKind, s.kind)}</dd>
        <dt>{t.col.duration}</dt><dd>{ms(s.durationMs)} {row && row.kids > 0 && <span class="muted">({t.trace.self} {ms(row.selfMs)})</span>}</dd>
        <dt>{t.trace.offset}</dt><dd>{ms(s.offsetMs)} <span class="muted"><Time at={s.start} millis /></span></dd>
        {s.instance !== '' && <><dt>{t.trace.instance}</dt><dd class="break">{s.instance}</dd></>}
      </dl>
      <h3>{t.trace.attributes}</h3>
      {pairs.length === 0 ? <p class="muted">{t.trace.noAttributes}</p> : <Pairs pairs={pairs} />}
      {s.events.length > 0 && (
        <>
          <h3>{t.trace.events}</h3>
          <ol class="events">
            {s.events.map((e, i) => (
              <li key={i}>
                <strong>{e.name}</strong> <span class="muted small"><Time at={e.at} millis /></span>
                <Pairs pairs={Object.entries(e.attributes).sort(([a], [b]) => (a < b ? -1 : 1))} />
              </li>
            ))}
          </ol>
        </>
      )}
    </Card>
  )
}
