// Goroutines, live heap, descriptors, pauses and scheduling of a service's
// processes, by version.
import { useMemo } from 'preact/hooks'
import { api } from '../api'
import { bytes, ms, short } from '../format'
import { useT } from '../i18n'
import { ranges, vitals, type Range } from '../promql'
import type { Series } from '../types'
import { useLoad } from '../use'
import { Empty, Loading, TroubleBox } from './basic'
import { Chart, type Line } from './chart'
import { join } from './chart-data'

const keys = ['goroutines', 'heap', 'descriptors', 'gc', 'scheduler'] as const
type Key = (typeof keys)[number]

const seconds = (v: number): string => ms(v * 1000)
const formats: Record<Key, (v: number) => string> = { goroutines: short, heap: bytes, descriptors: short, gc: seconds, scheduler: seconds }
const tops: Record<Key, number> = { goroutines: 50, heap: 10e6, descriptors: 50, gc: 0.001, scheduler: 0.001 }

interface Read {
  series: Record<Key, Series[]>
  from: number
  to: number
}

async function read(name: string, r: Range, signal: AbortSignal): Promise<Read> {
  const to = Math.floor(Date.now() / 1000 / r.step) * r.step
  const from = to - r.minutes * 60
  const q = vitals(name, Math.max(r.window, r.step))
  const all = await Promise.all(keys.map((k) => api.range(q[k], from, to, r.step, signal)))
  return { series: Object.fromEntries(keys.map((k, i) => [k, all[i] ?? []])) as Record<Key, Series[]>, from, to }
}

export default function VitalCharts({ service, minutes, stable, canary }: { service: string; minutes: number; stable: string; canary: string }) {
  const t = useT()
  const range = ranges.find((r) => r.minutes === minutes) ?? (ranges[0] as Range)
  const { data, trouble, reload } = useLoad(`${service}\n${range.minutes}`, (s) => read(service, range, s), [], range.every)
  const versions = useMemo(() => {
    const all = new Set(keys.flatMap((k) => (data?.series[k] ?? []).map((s) => s.labels['service_version'] ?? '')))
    const weight = (v: string): number => (v === stable ? 0 : v === canary ? 2 : 1)
    return [...all].sort((a, b) => weight(a) - weight(b) || (a < b ? -1 : 1))
  }, [data, stable, canary])
  const lines: Line[] = versions.map((v, i) => ({ label: v || t.common.unknown, tone: i, dashed: i > 0 }))
  const tables = useMemo(() => data && Object.fromEntries(keys.map((k) => [k,
    data.series[k].length === 0 ? null : join(versions.map((v) => data.series[k].find((s) => (s.labels['service_version'] ?? '') === v) ?? { labels: {}, points: [] })),
  ])) as Record<Key, (number | null)[][] | null>, [data, versions])

  if (trouble) return <TroubleBox trouble={trouble} retry={reload} />
  if (!data || !tables) return <Loading />
  if (versions.length === 0) return <Empty>{t.vitals.noSeries}</Empty>
  return (
    <div class="charts vital-charts">
      {keys.map((k) => {
        const text = t.vitals.chart[k] + (versions.length > 1 ? ` · ${t.service.byVersion}` : '')
        const table = tables[k]
        return (
          <figure key={k}>
            <figcaption>{text}</figcaption>
            {table === null ? <Empty>{t.empty.chart}</Empty> : <Chart data={table} lines={lines} from={data.from} to={data.to} format={formats[k]} top={tops[k]} label={text} height={110} />}
          </figure>
        )
      })}
    </div>
  )
}
