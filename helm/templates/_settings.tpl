{{/* From values to what the agent is told. */}}

{{/* Settings and other variables that values name, as JSON: those of port-agent first, then our own. Empty ones are
     left out: to the agent they are not set, and a values file of port-agent has many. */}}
{{- define "action-agent.settings" -}}
{{- $all := dict -}}
{{- range list .Values.env.normal .Values.settings -}}
  {{- range $name, $value := . -}}
    {{- with include "action-agent.text" $value }}{{ $_ := set $all $name . }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- toJson $all }}
{{- end }}

{{/* One of them: list CONTEXT NAME DEFAULT. */}}
{{- define "action-agent.setting" -}}
{{- $settings := include "action-agent.settings" (index . 0) | fromJson -}}
{{- index $settings (index . 1) | default (index . 2) }}
{{- end }}

{{- define "action-agent.orgId" -}}
{{- .Values.port.orgId | default (include "action-agent.setting" (list . "PORT_ORG_ID" "")) }}
{{- end }}

{{- define "action-agent.httpPort" -}}
{{- include "action-agent.setting" (list . "AGENT_HTTP_PORT" "8080") }}
{{- end }}

{{- define "action-agent.groupId" -}}
{{- include "action-agent.setting" (list . "KAFKA_CONSUMER_GROUP_ID" (printf "%s.action-agent" (include "action-agent.orgId" .))) }}
{{- end }}

{{- define "action-agent.runsTopic" -}}
{{- include "action-agent.setting" (list . "KAFKA_RUNS_TOPIC" (printf "%s.runs" (include "action-agent.orgId" .))) }}
{{- end }}

{{/* The least grace period, in whole seconds: what agent/domain/timeline.py says of these settings. */}}
{{- define "action-agent.leastGraceSeconds" -}}
{{- $drain := include "action-agent.setting" (list . "AGENT_DRAIN_TIMEOUT_S" "30") -}}
{{- $killGrace := include "action-agent.setting" (list . "AGENT_KILL_GRACE_S" "10") -}}
{{- $report := include "action-agent.setting" (list . "AGENT_REPORT_TIMEOUT_S" "20") -}}
{{- addf (float64 $drain) (float64 $killGrace) (float64 $report) 10 | ceil | int64 }}
{{- end }}

{{- define "action-agent.graceSeconds" -}}
{{- .Values.terminationGracePeriodSeconds | default (include "action-agent.leastGraceSeconds" .) | int64 }}
{{- end }}

{{/* Variables that the chart makes, as JSON. */}}
{{- define "action-agent.ownVariables" -}}
{{- $own := dict
      "PORT_ORG_ID" (include "action-agent.orgId" .)
      "PORT_API_BASE_URL" .Values.port.baseUrl
      "PORT_CLIENT_ID_FILE" "/etc/action-agent/credentials/PORT_CLIENT_ID"
      "PORT_CLIENT_SECRET_FILE" "/etc/action-agent/credentials/PORT_CLIENT_SECRET"
      "AGENT_ROUTES_PATH" (include "action-agent.routesPath" .)
      "AGENT_PYTHONPATH" (include "action-agent.pythonPath" .)
      "AGENT_STATE_DIR" .Values.persistence.mountPath
      "AGENT_TERMINATION_GRACE_S" (include "action-agent.graceSeconds" .)
      "SSL_CERT_FILE" (include "action-agent.caFile" .)
-}}
{{- if .Values.extraCA.kafka }}
  {{- $_ := set $own "AGENT_KAFKA_CA_FILE" (include "action-agent.caFile" .) -}}
{{- end -}}
{{- if .Values.controlThePayloadConfig }}
  {{- $_ := set $own "CONTROL_THE_PAYLOAD_CONFIG_PATH" "/etc/action-agent/mapping/mapping.json" -}}
{{- end -}}
{{- range $name, $value := $own -}}
  {{- if not $value }}{{ $_ := unset $own $name }}{{ end -}}
{{- end -}}
{{- toJson $own }}
{{- end }}

{{/* The container's env. */}}
{{- define "action-agent.env" -}}
{{- $own := include "action-agent.ownVariables" . | fromJson -}}
{{- range $name, $value := merge $own (include "action-agent.settings" . | fromJson) }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- if .Values.secret.useExistingSecret }}
{{- /* That Secret comes as variables too. Empty ones here give way to the files, which take no restart to rotate. */}}
- name: PORT_CLIENT_ID
  value: ""
- name: PORT_CLIENT_SECRET
  value: ""
{{- end }}
{{- range $name, $_ := omit (include "action-agent.secretData" . | fromJson) "PORT_CLIENT_ID" "PORT_CLIENT_SECRET" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ include "action-agent.ownSecret" $ }}
      key: {{ $name }}
{{- end }}
{{- with .Values.extraEnv }}
{{ include "action-agent.templated" (list $ .) }}
{{- end }}
{{- end }}

{{- define "action-agent.envFrom" -}}
{{- if .Values.secret.useExistingSecret }}
- secretRef:
    name: {{ include "action-agent.ownSecret" . }}
{{- end }}
{{- with .Values.envFrom }}
{{ include "action-agent.templated" (list $ .) }}
{{- end }}
{{- end }}

{{/* What is read once, so that its change must roll the pods; settings stand in the pod itself. */}}
{{- define "action-agent.checksums" -}}
{{- with include "action-agent.secretData" . | fromJson }}
checksum/secret: {{ toJson . | sha256sum }}
{{- end }}
{{- with .Values.python.files }}
checksum/python: {{ toJson . | sha256sum }}
{{- end }}
{{- with .Values.controlThePayloadConfig }}
checksum/mapping: {{ . | sha256sum }}
{{- end }}
{{- if .Values.selfSignedCertificate.enabled }}
checksum/ca: {{ .Values.selfSignedCertificate.certificate | sha256sum }}
{{- end }}
{{- end }}
