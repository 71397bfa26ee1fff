// One incident as a band: what, where it began, who owns it, since when.
import { useLang, useT, word } from '../i18n'
import { href } from '../router'
import type { Incident } from '../types'
import { Lasting, StateIcon, Tag, Time } from './basic'

export const titleOf = (i: Incident, lang: string): string => (lang === 'zh' ? i.titleZh : i.title) || i.id

export function IncidentBand({ incident }: { incident: Incident }) {
  const t = useT()
  const lang = useLang()
  const open = incident.state === 'open'
  return (
    <article class={`band ${open ? (incident.severity === 'warn' ? 'band-warn' : 'band-bad') : 'band-done'}`}>
      <StateIcon state={open ? (incident.severity === 'warn' ? 'warn' : 'bad') : 'ok'} size={20} />
      <div class="band-text">
        <a class="band-title" href={href.incident(incident.id)}>{titleOf(incident, lang)}</a>
        <p class="band-facts">
          <Tag tone={open ? (incident.severity === 'warn' ? 'warn' : 'bad') : 'ok'}>{t.incidents[incident.state]}</Tag>
          {incident.severity !== '' && <span>{word(t.severity, incident.severity)}</span>}
          <span>{incident.origin !== '' ? <>{t.incidents.origin} <a href={href.service(incident.origin)}>{incident.origin}</a></> : t.incidents.originUnknown}</span>
          {incident.owner !== '' && <span>{t.incidents.owner} {incident.owner}</span>}
          <span><Time at={incident.openedAt} /> · <Lasting from={incident.openedAt} to={incident.resolvedAt} /></span>
        </p>
      </div>
      {incident.hasReport && <a class="button" href={href.incident(incident.id)}>{t.overview.report}</a>}
    </article>
  )
}
