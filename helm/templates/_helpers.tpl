{{/* Names, labels and small helpers. Templates that take more than the root context take a list. */}}

{{- define "action-agent.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters: a StatefulSet's pods get a label that is eleven longer. */}}
{{- define "action-agent.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "action-agent.serviceAccountName" -}}
{{- if .Values.podServiceAccount.name }}
{{- .Values.podServiceAccount.name }}
{{- else if .Values.serviceAccount.create }}
{{- default (include "action-agent.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* What everything of this release has, the doctor's pod included. */}}
{{- define "action-agent.instanceLabels" -}}
app.kubernetes.io/name: {{ include "action-agent.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The agent's pods, and no others. */}}
{{- define "action-agent.selectorLabels" -}}
{{ include "action-agent.instanceLabels" . }}
app.kubernetes.io/component: agent
{{- end }}

{{/* What everything is labelled with, but for its part in the whole. */}}
{{- define "action-agent.commonLabels" -}}
{{- $ours := dict
      "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
      "app.kubernetes.io/version" .Chart.AppVersion
      "app.kubernetes.io/managed-by" .Release.Service -}}
{{- mergeOverwrite $ours .Values.extraLabels (include "action-agent.instanceLabels" . | fromYaml) | toYaml }}
{{- end }}

{{- define "action-agent.labels" -}}
{{ include "action-agent.commonLabels" . }}
app.kubernetes.io/component: agent
{{- end }}

{{/* The metadata of one of our objects: list CONTEXT SUFFIX [ANNOTATIONS]. */}}
{{- define "action-agent.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "action-agent.fullname" $root }}{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "action-agent.labels" $root | nindent 2 }}
{{- if gt (len .) 2 }}
{{- with index . 2 }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* A value in which templates may stand: list CONTEXT VALUE. */}}
{{- define "action-agent.templated" -}}
{{- $value := index . 1 -}}
{{- tpl (ternary $value (toYaml $value) (kindIs "string" $value)) (index . 0) }}
{{- end }}

{{/* A scalar as text, empty if it is null. Numbers as they were written: printf would make 1e+06 of a million. */}}
{{- define "action-agent.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else if not (kindIs "invalid" .) }}{{ toJson . }}{{ end }}
{{- end }}

{{/* Values files of port-agent name its image; with this chart they mean the agent, not that image. */}}
{{- define "action-agent.isOfficialImage" -}}
{{- if eq .Values.image.repository "ghcr.io/port-labs/port-agent" }}yes{{ end }}
{{- end }}

{{- define "action-agent.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end }}
{{- if include "action-agent.isOfficialImage" . }}action-agent:{{ .Chart.AppVersion }}
{{- else if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "action-agent.workloadKind" -}}
{{- ternary "StatefulSet" "Deployment" .Values.persistence.enabled }}
{{- end }}

{{- define "action-agent.isScaled" -}}
{{- if or .Values.keda.enabled .Values.autoscaling.enabled }}yes{{ end }}
{{- end }}
