// Chart data without the chart.
import type { Series } from '../types'

// join puts series with different times into one table; what is missing is a gap.
export function join(series: readonly Series[]): (number | null)[][] {
  const times = [...new Set(series.flatMap((s) => s.points.map((p) => p[0])))].sort((a, b) => a - b)
  const at = new Map(times.map((t, i) => [t, i]))
  return [
    times,
    ...series.map((s) => {
      const column: (number | null)[] = new Array<number | null>(times.length).fill(null)
      for (const [t, v] of s.points) column[at.get(t) as number] = v
      return column
    }),
  ]
}
