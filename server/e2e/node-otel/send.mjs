// Sends one small service's telemetry with the OpenTelemetry SDK for Node, as
// proof that a service which knows nothing of Surefoot is first-class.
//
//   OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 node send.mjs --protocol protobuf|json
//        [--requests 40] [--fail 0.25] [--seconds 0] [--quiet]
//
// Service "node-cart" serves "POST /cart", reads its external "legacy-db" in
// each request, and a share of those reads fails. Traces, metrics and logs are
// all sent. With --seconds N the requests are spread over N seconds.
//
// The last line on stdout is one JSON object: what was sent and one failed
// trace id. Exit 0: all flushed and accepted. 1: the receiver refused or could
// not be reached (reason on stderr). 2: bad usage.
import { parseArgs } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import { context, diag, DiagLogLevel, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { SeverityNumber } from '@opentelemetry/api-logs'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs'

function usage(why) {
  console.error(`send.mjs: ${why}\nusage: OTEL_EXPORTER_OTLP_ENDPOINT=http://host:4318 node send.mjs --protocol protobuf|json [--requests N] [--fail SHARE] [--seconds N] [--quiet]`)
  process.exit(2)
}

let args
try {
  args = parseArgs({
    options: {
      protocol: { type: 'string', default: 'protobuf' },
      requests: { type: 'string', default: '40' },
      fail: { type: 'string', default: '0.25' },
      seconds: { type: 'string', default: '0' },
      quiet: { type: 'boolean', default: false },
    },
  }).values
} catch (err) {
  usage(err.message)
}
const requests = Number(args.requests)
const failShare = Number(args.fail)
const seconds = Number(args.seconds)
if (!['protobuf', 'json'].includes(args.protocol)) usage(`unknown protocol ${JSON.stringify(args.protocol)}`)
if (!Number.isInteger(requests) || requests < 1) usage('--requests must be a whole number above 0')
if (!(failShare >= 0 && failShare <= 1)) usage('--fail must lie between 0 and 1')
if (!(seconds >= 0 && seconds <= 600)) usage('--seconds must lie between 0 and 600')
if (!process.env.OTEL_EXPORTER_OTLP_ENDPOINT) usage('OTEL_EXPORTER_OTLP_ENDPOINT is not set')

// The SDK reports a refused export through its diagnostics only: a failed
// flush does not reject. Every error line there makes the exit code 1.
const failures = []
const note = (...parts) => {
  let text = parts.map(String).join(' ')
  try {
    text = JSON.parse(text).message ?? text // the SDK's own errors come as JSON with a stack
  } catch {
    // plain text already
  }
  text = text.split('\n')[0]
  if (!failures.includes(text)) failures.push(text)
}
diag.setLogger({ error: note, warn: note, info() {}, debug() {}, verbose() {} }, DiagLogLevel.WARN)

const flavour = args.protocol === 'json' ? 'http' : 'proto'
const [{ OTLPTraceExporter }, { OTLPMetricExporter }, { OTLPLogExporter }] = await Promise.all([
  import(`@opentelemetry/exporter-trace-otlp-${flavour}`),
  import(`@opentelemetry/exporter-metrics-otlp-${flavour}`),
  import(`@opentelemetry/exporter-logs-otlp-${flavour}`),
])

const resource = resourceFromAttributes({
  'service.name': 'node-cart',
  'service.version': '1.4.2',
  'service.namespace': 'elsewhere',
  'service.instance.id': `node-cart-${args.protocol}`,
})
const limits = { timeoutMillis: 5000 }
const tracers = new BasicTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(limits), { maxQueueSize: 100_000, scheduledDelayMillis: 500 })],
})
const meters = new MeterProvider({
  resource,
  readers: [new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter(limits), exportIntervalMillis: 5000, exportTimeoutMillis: 5000 })],
})
const logs = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter(limits), maxQueueSize: 100_000, scheduledDelayMillis: 500 })],
})
const tracer = tracers.getTracer('node-cart')
const meter = meters.getMeter('node-cart')
const logger = logs.getLogger('node-cart')
const handled = meter.createCounter('node_cart.requests', { unit: '{request}', description: 'requests handled' })
const latency = meter.createHistogram('http.server.request.duration', { unit: 's', description: 'time to answer' })
const items = meter.createUpDownCounter('node_cart.items', { unit: '{item}', description: 'items in carts' })

// Request i fails when the running share crosses a whole number, so the count
// of failures is known beforehand.
const mustFail = (i) => Math.floor((i + 1) * failShare) > Math.floor(i * failShare)

let failedTrace = ''
let failed = 0

function serve(i) {
  const bad = mustFail(i)
  const start = Date.now()
  const total = bad ? 120 : 20 + (i % 7)
  const server = tracer.startSpan('POST /cart', {
    kind: SpanKind.SERVER,
    startTime: start,
    attributes: { 'http.request.method': 'POST', 'http.route': '/cart', 'url.path': '/cart', 'url.scheme': 'http' },
  })
  const inServer = trace.setSpan(context.active(), server)
  const client = tracer.startSpan('SELECT carts', {
    kind: SpanKind.CLIENT,
    startTime: start + 2,
    attributes: { 'peer.service': 'legacy-db', 'db.system.name': 'postgresql', 'db.namespace': 'carts', 'server.address': 'legacy-db.internal', 'server.port': 5432 },
  }, inServer)
  if (bad) {
    client.recordException({ name: 'unavailable', message: 'legacy-db refused the connection' }, start + total - 5)
    client.setAttribute('error.type', 'unavailable')
    client.setStatus({ code: SpanStatusCode.ERROR, message: 'legacy-db refused the connection' })
    server.setAttributes({ 'error.type': 'unavailable', 'http.response.status_code': 503 })
    server.setStatus({ code: SpanStatusCode.ERROR, message: 'cart is not available' })
    failedTrace = server.spanContext().traceId
    failed++
  } else {
    server.setAttribute('http.response.status_code', 200)
    items.add(1, { 'cart.kind': 'web' })
  }
  client.end(start + total - 4)
  server.end(start + total)
  handled.add(1, { outcome: bad ? 'error' : 'ok' })
  latency.record(total / 1000, { 'http.request.method': 'POST', 'http.route': '/cart' })
  logger.emit({
    severityNumber: bad ? SeverityNumber.ERROR : SeverityNumber.INFO,
    severityText: bad ? 'ERROR' : 'INFO',
    body: bad ? 'cart could not be read: legacy-db refused the connection' : 'cart updated',
    attributes: { 'cart.id': `cart-${i}` },
    context: inServer,
  })
}

for (let i = 0; i < requests; i++) {
  serve(i)
  if (seconds > 0) await sleep((seconds * 1000) / requests)
}

for (const provider of [tracers, meters, logs]) {
  try {
    await provider.forceFlush()
    await provider.shutdown()
  } catch (err) {
    note(err?.message ?? err)
  }
}
if (failures.length > 0) {
  console.error(`send.mjs: the receiver at ${process.env.OTEL_EXPORTER_OTLP_ENDPOINT} did not take everything:`)
  for (const line of failures.slice(0, 5)) console.error('  ' + line.slice(0, 400))
  process.exit(1)
}
if (!args.quiet) console.error(`sent ${requests} requests of node-cart, ${failed} failed, over OTLP http/${args.protocol}`)
console.log(JSON.stringify({ service: 'node-cart', external: 'legacy-db', protocol: args.protocol, requests, failed, spans: requests * 2, logs: requests, failedTrace }))
