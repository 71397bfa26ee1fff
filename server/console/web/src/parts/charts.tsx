// Rate, errors and p99 of a service by version, over a time the reader picks.
import { useMemo } from 'preact/hooks'
import { api } from '../api'
import { ms, rate, share } from '../format'
import { useT } from '../i18n'
import { ofService, ranges, type Range } from '../promql'
import type { Series } from '../types'
import { useLoad } from '../use'
import { Card, Empty, Loading, TroubleBox } from './basic'
import { Chart, type Line } from './chart'
import { join } from './chart-data'

interface Read {
  rate: Series[]
  errors: Series[]
  p99: Series[]
  own: boolean
  from: number
  to: number
}

async function read(name: string, r: Range, signal: AbortSignal): Promise<Read> {
  const to = Math.floor(Date.now() / 1000 / r.step) * r.step
  const from = to - r.minutes * 60
  const ask = async (own: boolean): Promise<Read> => {
    const q = ofService(name, r.window, own)
    const [a, b, c] = await Promise.all([q.rate, q.errors, q.p99].map((text) => api.range(text, from, to, r.step, signal)))
    return { rate: a ?? [], errors: b ?? [], p99: c ?? [], own, from, to }
  }
  const first = await ask(true)
  // A worker or a browser has no server spans; all of its spans are better than an empty chart.
  return first.rate.length > 0 ? first : ask(false)
}

export default function Charts({ service, minutes, pick, stable, canary }: { service: string; minutes: number; pick: (minutes: number) => void; stable: string; canary: string }) {
  const t = useT()
  const range = ranges.find((r) => r.minutes === minutes) ?? (ranges[0] as Range)
  const { data, trouble, reload } = useLoad(`${service}\n${range.minutes}`, (s) => read(service, range, s), [], range.every)

  const versions = useMemo(() => {
    const all = new Set([...(data?.rate ?? []), ...(data?.p99 ?? [])].map((s) => s.labels['service_version'] ?? ''))
    const weight = (v: string): number => (v === stable ? 0 : v === canary ? 2 : 1)
    return [...all].sort((a, b) => weight(a) - weight(b) || (a < b ? -1 : 1))
  }, [data, stable, canary])
  const lines: Line[] = versions.map((v, i) => ({ label: v || t.common.unknown, tone: i, dashed: i > 0 }))
  const columns = (series: Series[]): (number | null)[][] =>
    join(versions.map((v) => series.find((s) => (s.labels['service_version'] ?? '') === v) ?? { labels: {}, points: [] }))
  const tables = useMemo(() => data && { rate: columns(data.rate), errors: columns(data.errors), p99: columns(data.p99) }, [data, versions])

  const picker = (
    <span class="segments" role="group" aria-label={t.service.range}>
      {ranges.map((r) => (
        <button
          key={r.minutes}
          type="button"
          aria-pressed={r === range}
          onClick={() => pick(r.minutes)}
        >
          {r.minutes < 60 ? `${r.minutes} ${t.units.min}` : `${r.minutes / 60} ${t.units.h}`}
        </button>
      ))}
    </span>
  )
  const title = (text: string): string => text + (versions.length > 1 ? ` · ${t.service.byVersion}` : '')
  return (
    <Card id="charts" title={`${t.service.charts} ${range.minutes < 60 ? `${range.minutes} ${t.units.min}` : `${range.minutes / 60} ${t.units.h}`}`} hint={data && !data.own && versions.length > 0 ? t.service.allSpans : undefined} actions={picker}>
      {trouble && <TroubleBox trouble={trouble} retry={reload} />}
      {!data && !trouble && <Loading />}
      {data && tables && (versions.length === 0 ? <Empty>{t.empty.chart}</Empty> : (
        <div class="charts">
          {([['rate', t.service.chartRate, rate, 1], ['errors', t.service.chartErrors, share, 0.05], ['p99', t.service.chartP99, ms, 10]] as const).map(([key, text, format, top]) => (
            <figure key={key}>
              <figcaption>{title(text)}</figcaption>
              <Chart data={tables[key]} lines={lines} from={data.from} to={data.to} format={format} top={top} label={title(text)} />
            </figure>
          ))}
        </div>
      ))}
    </Card>
  )
}
