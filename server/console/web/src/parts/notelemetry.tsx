// What to do when nobody has reported yet.
import { useT } from '../i18n'
import { Card, Copy } from './basic'

function Line({ text }: { text: string }) {
  return <p class="shell"><code>{text}</code> <Copy text={text} /></p>
}

export function NoTelemetry() {
  const t = useT()
  const host = location.hostname.includes(':') ? `[${location.hostname}]` : location.hostname
  return (
    <Card title={t.empty.telemetryTitle} id="none">
      <p>{t.empty.telemetry}</p>
      <p class="small muted">{t.empty.telemetryHttp}</p>
      <Line text={`export OTEL_EXPORTER_OTLP_ENDPOINT=http://${host}:4318`} />
      <p class="small muted">{t.empty.telemetryGrpc}</p>
      <Line text={`export OTEL_EXPORTER_OTLP_ENDPOINT=http://${host}:4317 OTEL_EXPORTER_OTLP_PROTOCOL=grpc`} />
      <p class="small muted">{t.empty.telemetryPorts}</p>
      <p>{t.empty.telemetryDemo}</p>
      <Line text="surefoot demo" />
    </Card>
  )
}
