{{/* The triggers of the ScaledObject: each is named after its value of keda.trigger. */}}

{{/* Each pod is asked for what waits there, and the sum is shared out among replicas. */}}
{{- define "action-agent.trigger.metrics-api" -}}
- type: metrics-api
  metadata:
    url: http://{{ include "action-agent.fullname" . }}.{{ .Release.Namespace }}.svc:{{ include "action-agent.httpPort" . }}/metrics
    format: prometheus
    valueLocation: agent_runs_waiting_for_slot
    aggregateFromKubeServiceEndpoints: "true"
    aggregationType: sum
    targetValue: {{ include "action-agent.text" .Values.keda.waitingRuns | quote }}
{{- end }}

{{/* The names of this release's pods, and not those of a release whose name begins likewise. A Deployment's have two more
     parts; Kubernetes shortens the first, and the hyphen behind it, where a name is long. */}}
{{- define "action-agent.podNames" -}}
{{- include "action-agent.fullname" . }}{{ ternary "-[0-9]+" "-[a-z0-9]+(-[a-z0-9]{5})?" .Values.persistence.enabled }}
{{- end }}

{{/* No data is an error, for which there is the fallback: by default KEDA takes it for 0. */}}
{{- define "action-agent.trigger.prometheus" -}}
{{- $pods := include "action-agent.podNames" . -}}
{{- $query := printf "sum(agent_runs_waiting_for_slot{namespace=%q, pod=~%q})" .Release.Namespace $pods -}}
{{- with .Values.keda.prometheus -}}
- type: prometheus
  metadata:
    serverAddress: {{ .serverAddress }}
    query: {{ .query | default $query | quote }}
    threshold: {{ include "action-agent.text" $.Values.keda.waitingRuns | quote }}
    ignoreNullValues: "false"
  {{- with .authenticationRef }}
  authenticationRef:
    name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* KEDA itself never asks for more replicas than the topic has partitions. */}}
{{- define "action-agent.trigger.kafka" -}}
{{- $reset := include "action-agent.setting" (list . "KAFKA_CONSUMER_AUTO_OFFSET_RESET" "earliest") | lower -}}
{{- with .Values.keda.kafka -}}
- type: kafka
  metadata:
    bootstrapServers: {{ .bootstrapServers }}
    consumerGroup: {{ include "action-agent.groupId" $ }}
    topic: {{ include "action-agent.runsTopic" $ }}
    lagThreshold: {{ include "action-agent.text" .lagThreshold | quote }}
    offsetResetPolicy: {{ ternary "earliest" "latest" (has $reset (list "earliest" "smallest" "beginning")) }}
    version: {{ .version | quote }}
    tls: {{ ternary "enable" "disable" .tls }}
    {{- if .existingSecret }}
    sasl: {{ .sasl }}
    {{- end }}
  {{- if include "action-agent.hasTriggerAuthentication" $ }}
  authenticationRef:
    name: {{ include "action-agent.fullname" $ }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "action-agent.hasTriggerAuthentication" -}}
{{- if and .Values.keda.enabled (eq .Values.keda.trigger "kafka") (or .Values.keda.kafka.existingSecret .Values.extraCA.kafka) }}yes{{ end }}
{{- end }}
