// The questions the console asks of the span metrics. Names and labels are
// those of the OpenTelemetry span metrics connector.
const calls = 'traces_span_metrics_calls_total'
const bucket = 'traces_span_metrics_duration_milliseconds_bucket'
const served = 'span_kind=~"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER"'
const failed = 'status_code="STATUS_CODE_ERROR"'

// quoteValue writes any text as a PromQL string.
export const quoteValue = (s: string): string => '"' + s.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n') + '"'

export interface Range {
  minutes: number
  step: number // s between two points
  window: number // s that a rate looks back
  every: number // ms between two readings
}

export const ranges: readonly Range[] = [
  { minutes: 15, step: 5, window: 30, every: 5_000 },
  { minutes: 60, step: 20, window: 60, every: 10_000 },
  { minutes: 360, step: 120, window: 240, every: 30_000 },
  { minutes: 1440, step: 480, window: 960, every: 60_000 },
]

const share = (by: string, match: string, w: number): string => {
  const all = `sum by (${by}) (rate(${calls}{${match}}[${w}s]))`
  const bad = `sum by (${by}) (rate(${calls}{${match ? match + ',' : ''}${failed}}[${w}s]))`
  // "or all * 0" makes a service without a single failure 0, not absent.
  return `(${bad} or ${all} * 0) / ${all}`
}

// ofService asks about one service by version; own counts its server and
// consumer spans, otherwise all of its spans.
export function ofService(name: string, window: number, own: boolean): { rate: string; errors: string; p99: string } {
  const match = `service_name=${quoteValue(name)}${own ? ',' + served : ''}`
  return {
    rate: `sum by (service_version) (rate(${calls}{${match}}[${window}s]))`,
    errors: share('service_version', match, window),
    p99: `histogram_quantile(0.99, sum by (le, service_version) (rate(${bucket}{${match}}[${window}s])))`,
  }
}

// vitals asks about the processes of a service by version, of each the one that
// has most. Names are those of OpenTelemetry's Go runtime metrics where there
// is one.
export function vitals(name: string, window: number): Record<'goroutines' | 'heap' | 'descriptors' | 'gc' | 'scheduler', string> {
  const most = (metric: string): string => `max by (service_version) (max_over_time(${metric}{service_name=${quoteValue(name)}}[${window}s]))`
  return {
    goroutines: most('go_goroutine_count'),
    heap: most('surefoot_vitals_heap_live_bytes'),
    descriptors: most('process_unix_file_descriptor_count'),
    gc: most('surefoot_vitals_gc_pause_p99_seconds'),
    scheduler: most('surefoot_vitals_scheduler_latency_p99_seconds'),
  }
}

// ofAll asks about every service at once, for the sparklines.
export function ofAll(window: number): { rate: string; errors: string; p99: string } {
  return {
    rate: `sum by (service_name) (rate(${calls}{${served}}[${window}s]))`,
    errors: share('service_name', served, window),
    p99: `histogram_quantile(0.99, sum by (le, service_name) (rate(${bucket}{${served}}[${window}s])))`,
  }
}
