// Log lines, newest last, as the services wrote them.
import { useState } from 'preact/hooks'
import { useT } from '../i18n'
import { href } from '../router'
import type { LogRecord } from '../types'
import { Empty, Time } from './basic'

const tone = (severity: string): string => (/^(ERROR|FATAL)/i.test(severity) ? 'bad' : /^WARN/i.test(severity) ? 'warn' : 'plain')

export function Logs({ logs, withTrace }: { logs: LogRecord[]; withTrace: boolean }) {
  const t = useT()
  const [limit, more] = useState(50)
  if (logs.length === 0) return <Empty>{t.empty.logs}</Empty>
  return (
    <>
      <ol class="logs">
        {logs.slice(0, limit).map((l, i) => (
          <li key={i} class={`log log-${tone(l.severity)}`}>
            <Time at={l.at} millis />
            <span class="log-severity">{l.severity || '–'}</span>
            <span class="log-service">{l.service}</span>
            <span class="log-body">{l.body}</span>
            {withTrace && l.traceId !== '' && <a href={href.trace(l.traceId, l.spanId)}>{t.col.trace}</a>}
          </li>
        ))}
      </ol>
      {logs.length > limit && <p class="pad"><button type="button" onClick={() => more(limit + 200)}>{t.common.more(Math.min(200, logs.length - limit))}</button></p>}
    </>
  )
}
