{{/* What the objects of the Prometheus operator, and the dashboard, have in common. */}}

{{/* Metadata of one of them: list CONTEXT VALUES SUFFIX. Its labels and annotations win over the chart's. */}}
{{- define "action-agent.monitoring.metadata" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
name: {{ include "action-agent.fullname" $root }}{{ index . 2 }}
namespace: {{ $values.namespace | default $root.Release.Namespace }}
labels:
  {{- mustMergeOverwrite (include "action-agent.labels" $root | fromYaml) (deepCopy $values.labels) | toYaml | nindent 2 }}
{{- with $values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* How the agents are scraped: list CONTEXT VALUES. The job is called as everything else of the release, for the
     alerts ask for it by name. */}}
{{- define "action-agent.monitoring.endpoint" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- if and $root.Values.metrics.podMonitor.enabled $root.Values.metrics.serviceMonitor.enabled }}
{{- fail "metrics.podMonitor and metrics.serviceMonitor are enabled: enable one of the two, or everything is counted twice" }}
{{- end -}}
port: http
path: /metrics
{{- with $values.interval }}
interval: {{ . }}
{{- end }}
{{- with $values.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
relabelings:
  - targetLabel: job
    replacement: {{ include "action-agent.fullname" $root }}
  {{- with $values.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
