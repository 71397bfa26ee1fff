// A sparkline: the shape of the last minutes beside a number.
import { slots } from '../history'

// The right end is now; a service seen for a minute fills a fifteenth of it.
export function Spark({ values, tone, floor = 0, label }: { values: readonly number[]; tone: 'plain' | 'bad' | 'cool'; floor?: number; label: string }) {
  const w = 84
  const h = 20
  if (values.length < 2) return <svg class="spark" viewBox={`0 0 ${w} ${h}`} width={w} height={h} aria-hidden="true" />
  const top = Math.max(floor, ...values)
  const step = w / (Math.max(slots, values.length) - 1)
  const left = w - step * (values.length - 1)
  const x = (i: number): number => Math.round((left + i * step) * 10) / 10
  const y = (v: number): number => Math.round((h - 1.5 - (top > 0 ? v / top : 0) * (h - 3)) * 10) / 10
  const line = values.map((v, i) => `${i === 0 ? 'M' : 'L'}${x(i)},${y(v)}`).join('')
  return (
    <svg class={`spark spark-${values.some((v) => v > 0) ? tone : 'flat'}`} viewBox={`0 0 ${w} ${h}`} width={w} height={h} role="img" aria-label={label}>
      <path class="area" d={`${line}L${w},${h}L${x(0)},${h}Z`} />
      <path class="line" d={line} />
    </svg>
  )
}
