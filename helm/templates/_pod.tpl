{{/* The agent's pod; the doctor's has most of it too. */}}

{{/* Volumes, but for the state: that may be a claim of a StatefulSet. */}}
{{- define "action-agent.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.tmp.sizeLimit }}
- name: credentials
  secret:
    secretName: {{ include "action-agent.credentialsSecret" . }}
    defaultMode: 0440
    items:
      - key: {{ include "action-agent.credentialsKey" (list . .Values.port.clientIdKey "PORT_CLIENT_ID") }}
        path: PORT_CLIENT_ID
      - key: {{ include "action-agent.credentialsKey" (list . .Values.port.clientSecretKey "PORT_CLIENT_SECRET") }}
        path: PORT_CLIENT_SECRET
{{- with include "action-agent.routesConfigMap" . }}
- name: routes
  configMap:
    name: {{ . }}
{{- end }}
{{- if or .Values.scripts.files .Values.scripts.existingConfigMap }}
- name: scripts
  configMap:
    name: {{ .Values.scripts.existingConfigMap | default (printf "%s-scripts" (include "action-agent.fullname" .)) }}
    defaultMode: 0555
{{- end }}
{{- if include "action-agent.hasPythonConfigMap" . }}
- name: python
  configMap:
    name: {{ .Values.python.existingConfigMap | default (printf "%s-python" (include "action-agent.fullname" .)) }}
{{- end }}
{{- if .Values.controlThePayloadConfig }}
- name: mapping
  configMap:
    name: {{ include "action-agent.fullname" . }}-mapping
{{- end }}
{{- if include "action-agent.caFile" . }}
- name: ca
  {{- if .Values.extraCA.configMap }}
  configMap:
    name: {{ .Values.extraCA.configMap }}
  {{- else }}
  secret:
    secretName: {{ include "action-agent.caSecret" . }}
    defaultMode: 0440
  {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ include "action-agent.templated" (list $ .) }}
{{- end }}
{{- end }}

{{/* Directories all of them: a file mounted by subPath would never change. */}}
{{- define "action-agent.volumeMounts" -}}
- name: state
  mountPath: {{ .Values.persistence.mountPath }}
- name: tmp
  mountPath: /tmp
- name: credentials
  mountPath: /etc/action-agent/credentials
  readOnly: true
{{- if include "action-agent.routesConfigMap" . }}
- name: routes
  mountPath: /etc/action-agent/routes
  readOnly: true
{{- end }}
{{- if or .Values.scripts.files .Values.scripts.existingConfigMap }}
- name: scripts
  mountPath: /etc/action-agent/scripts
  readOnly: true
{{- end }}
{{- if include "action-agent.hasPythonConfigMap" . }}
- name: python
  mountPath: /etc/action-agent/python
  readOnly: true
{{- end }}
{{- if .Values.controlThePayloadConfig }}
- name: mapping
  mountPath: /etc/action-agent/mapping
  readOnly: true
{{- end }}
{{- if include "action-agent.caFile" . }}
- name: ca
  mountPath: /etc/action-agent/ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ include "action-agent.templated" (list $ .) }}
{{- end }}
{{- end }}

{{/* Without what is null: Helm leaves such a one in where it is to take away what another values file gives. */}}
{{- define "action-agent.resources" -}}
{{- $given := dict -}}
{{- range $kind, $sizes := .Values.resources -}}
  {{- $sizes = deepCopy $sizes -}}
  {{- if kindIs "map" $sizes -}}
    {{- range $name, $size := $sizes -}}
      {{- if kindIs "invalid" $size }}{{ $sizes = omit $sizes $name }}{{ end -}}
    {{- end -}}
  {{- end -}}
  {{- with $sizes }}{{ $_ := set $given $kind . }}{{ end -}}
{{- end -}}
{{- toYaml $given }}
{{- end }}

{{/* What both pods have of a container. */}}
{{- define "action-agent.container" -}}
image: {{ include "action-agent.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- include "action-agent.env" . | trim | nindent 2 }}
{{- with include "action-agent.envFrom" . | trim }}
envFrom:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "action-agent.resources" . | fromYaml }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.containerSecurityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  {{- include "action-agent.volumeMounts" . | nindent 2 }}
{{- end }}

{{/* What both pods have of a pod. enableServiceLinks: Services of other names would set variables such as KAFKA_PORT. */}}
{{- define "action-agent.podSettings" -}}
serviceAccountName: {{ include "action-agent.serviceAccountName" . }}
automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.initContainers }}
initContainers:
  {{- include "action-agent.templated" (list $ .) | nindent 2 }}
{{- end }}
{{- end }}

{{- define "action-agent.emptyState" -}}
- name: state
  emptyDir:
    sizeLimit: {{ .Values.persistence.sizeLimit }}
{{- end }}

{{- define "action-agent.podTemplate" -}}
metadata:
  labels:
    {{- $labels := include "action-agent.templated" (list . .Values.podLabels) | fromYaml }}
    {{- mergeOverwrite (include "action-agent.labels" . | fromYaml) $labels | toYaml | nindent 4 }}
  annotations:
    {{- $default := dict "kubectl.kubernetes.io/default-container" "agent" }}
    {{- $annotations := include "action-agent.templated" (list . .Values.podAnnotations) | fromYaml }}
    {{- mergeOverwrite $default $annotations (include "action-agent.checksums" . | fromYaml) | toYaml | nindent 4 }}
spec:
  {{- include "action-agent.podSettings" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ include "action-agent.graceSeconds" . }}
  {{- with .Values.affinity }}
  affinity:
    {{- include "action-agent.templated" (list $ .) | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- include "action-agent.templated" (list $ .) | nindent 4 }}
  {{- end }}
  containers:
    - name: agent
      {{- include "action-agent.container" . | nindent 6 }}
      ports:
        - name: http
          containerPort: {{ include "action-agent.httpPort" . }}
      {{- range $name, $probe := .Values.probes }}
      {{- with $probe }}
      {{ $name }}Probe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
    {{- with .Values.extraContainers }}
    {{- include "action-agent.templated" (list $ .) | nindent 4 }}
    {{- end }}
  volumes:
    {{- if not .Values.persistence.enabled }}
    {{- include "action-agent.emptyState" . | nindent 4 }}
    {{- end }}
    {{- include "action-agent.volumes" . | nindent 4 }}
{{- end }}
