// Log lines as the services wrote them; each opens to all it carries.
import { useState } from 'preact/hooks'
import { useT } from '../i18n'
import { note, unfold } from '../logtext'
import { href } from '../router'
import type { LogRecord } from '../types'
import { Empty, Pairs, Time } from './basic'

const tone = (severity: string): string => (/^(ERROR|FATAL)/i.test(severity) ? 'bad' : /^WARN/i.test(severity) ? 'warn' : 'plain')

export function Logs({ logs, withTrace }: { logs: LogRecord[]; withTrace: boolean }) {
  const t = useT()
  const [limit, more] = useState(50)
  if (logs.length === 0) return <Empty>{t.empty.logs}</Empty>
  return (
    <>
      <ol class="logs" tabIndex={0}>
        {logs.slice(0, limit).map((l) => <Line key={l.at + l.spanId + l.body} log={l} withTrace={withTrace} />)}
      </ol>
      {logs.length > limit && <p class="pad"><button type="button" onClick={() => more(limit + 200)}>{t.common.more(Math.min(200, logs.length - limit))}</button></p>}
    </>
  )
}

function Line({ log: l, withTrace }: { log: LogRecord; withTrace: boolean }) {
  const t = useT()
  const [open, show] = useState(false)
  const any = Object.keys(l.attributes).length > 0
  return (
    <li class={`log log-${tone(l.severity)}`}>
      <div class="log-line">
        <Time at={l.at} millis />
        <span class="log-severity">{l.severity || '–'}</span>
        <span class="log-service">{l.service}{l.version !== '' && <span class="muted"> {l.version}</span>}</span>
        <span class="log-body">{l.body} <span class="muted">{note(l.attributes)}</span></span>
        {any && <button type="button" class="ghost log-more" aria-expanded={open} aria-label={t.trace.attributes} onClick={() => show(!open)}>{open ? '▾' : '▸'}</button>}
        {withTrace && l.traceId !== '' && <a href={href.trace(l.traceId, l.spanId)}>{t.col.trace}</a>}
      </div>
      {open && <Pairs pairs={unfold(l.attributes)} />}
    </li>
  )
}
